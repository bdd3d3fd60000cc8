"""The output of `trust dump`: anchors, refused certificates, and text that is neither."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from support.store_makers import p11_object

from detector.audit import InstalledRoot, UnreadableStore, p11_kit
from detector.audit.files import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector_testing import PrivatePKI

EXTENSION = b"""[p11-kit-object-v1]
class: x-certificate-extension
object-id: 2.5.29.37
value: "0%14%06%08%2b%06%01%05%05%07%03%01"
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
-----END PUBLIC KEY-----

"""


def test_dump(pki: PrivatePKI) -> None:
    """Anchors are given, refused ones marked even if another object trusts them, others passed over."""
    a, b = pki.root_a.certificate, pki.root_b.certificate
    neither = pki.private_ca("Neither").certificate
    output = b"".join(
        (
            EXTENSION,
            p11_object(a, "class: certificate", "certificate-type: x-509", 'label: "trusted: false"', "trusted: true"),
            p11_object(b, "class: certificate", "trusted: true", "x-distrusted: false"),
            p11_object(b, "class: certificate", "trusted: false", "x-distrusted: true"),
            p11_object(neither, "class: certificate", "trusted: false"),
        )
    )
    commands: list[Sequence[str]] = []

    def run(command: Sequence[str]) -> bytes:
        commands.append(command)
        return output

    assert list(p11_kit.p11_kit_roots("/usr/bin/trust", run)) == [
        InstalledRoot(der=a, store="p11-kit"),
        InstalledRoot(der=b, store="p11-kit", distrusted=True),
        InstalledRoot(der=b, store="p11-kit", distrusted=True),
    ]
    assert commands == [["/usr/bin/trust", "dump"]]


def test_trouble_is_listed(pki: PrivatePKI) -> None:
    """A failing program and a damaged certificate are unreadable stores, with what could be read kept."""

    def fails(_: Sequence[str]) -> bytes:
        raise StoreError("trust dump failed with status 1")

    assert list(p11_kit.p11_kit_roots("trust", fails)) == [
        UnreadableStore(store="p11-kit", reason="trust dump failed with status 1")
    ]
    damaged = p11_object(pki.root_a.certificate, "trusted: true") + p11_object(b"\x04\x00", "trusted: true")
    assert list(p11_kit.p11_kit_roots("trust", lambda _: damaged)) == [
        InstalledRoot(der=pki.root_a.certificate, store="p11-kit"),
        UnreadableStore(store="p11-kit", reason="holds a damaged certificate"),
    ]


@given(
    st.lists(
        st.sampled_from(
            [
                b"[p11-kit-object-v1]\n",
                b"class: certificate\n",
                b"trusted: true\n",
                b"x-distrusted",
                b": true\n",
                b"-----BEGIN CERTIFICATE-----\nMAIwAA==\n-----END CERTIFICATE-----\n",
                b"-----BEGIN CERTIFICATE-----\n",
                b"\xff\x00",
            ]
        )
    )
)
def test_any_output_is_read(parts: list[bytes]) -> None:
    """No output makes the parser raise; certificates come from objects only."""
    dump = p11_kit.parse(b"".join(parts))
    assert not dump.certificates or b"[p11-kit-object-v1]\n" in parts
