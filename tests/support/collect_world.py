"""What institutions report to a collector: signed submissions with bundles whose truth is known.

Room: tests. Pure: the same seed reports from the same institutions about the same students; keys of certificates and
signatures are fresh.

Honest servers present pinned keys, so that a collector needs no roots of this PKI. A bundle has handshakes of its own,
signed by the keys of its chains, and a signature of its institution; chains and conclusions are assessed once for each
kind of device, of which every institution has some.
"""

from __future__ import annotations

import base64
import datetime as dt
import hmac
import random
import secrets
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from detector_testing import PrivatePKI
from support.bundle_recordings import handshake_signature

from detector import bundle
from detector.bundle import form
from detector.judge import assess, network
from detector.judge.evidence import Context, EndpointEvidence
from detector.knowledge import data_set
from detector.model import Category, Endpoint, Observation, Outcome, RecordedIdentity, Route, encode
from detector.outbox import contents, submission
from detector.trust import envelope
from detector.trust.certificate import Certificate
from detector.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from detector_testing import Issued

    from detector.bundle.form import RecordedEndpoint

HOSTS: Final = tuple(f"{name}.platform.example.com" for name in ("exam", "lms", "files", "sign-in", "video", "mail"))
"""Endpoints of the vendor's own platform, pinned in the files of every institution."""
DEVICES: Final = 8
"""Kinds of devices of an institution: the first two are intercepted, by a product with a key of its own on each."""
INTERCEPTED: Final = 2


class Reported(NamedTuple):
    """A submission as sent, its identity, who sends it, and whether somebody decrypted what it is about."""

    institution: str
    digest: str
    envelope: bytes
    intercepted: bool


class _Device(NamedTuple):
    """The endpoints as one device saw them, with the keys that signed its handshakes; `others` are all other parts."""

    manifest: form.Manifest
    endpoints: tuple[RecordedEndpoint, ...]
    others: tuple[form.CarriedPart, ...]
    issued: tuple[Issued, ...]


class CollectWorld:
    """Institutions, their signing keys and their devices."""

    def __init__(self, seed: int = 0, *, institutions: int = 20, endpoints: int = 3) -> None:
        """`endpoints` are those of each bundle, which takes about 4 KiB for each."""
        self._draw = random.Random(seed)  # noqa: S311 - a simulation is repeated, not kept secret
        self.keys: dict[str, Ed25519PrivateKey] = {
            f"institution-{number:02}": Ed25519PrivateKey.from_private_bytes(self._draw.randbytes(32))
            for number in range(institutions)
        }
        self._secret = self._draw.randbytes(32)
        pki = PrivatePKI.create()
        genuine = {host: pki.issue([host]) for host in HOSTS[:endpoints]}
        self.endpoints = tuple(_pinned(host, issued.spki_sha256) for host, issued in genuine.items())
        """What the vendor knows of its platform."""
        self._devices = {
            institution: [_device(pki, genuine, intercepted=number < INTERCEPTED) for number in range(DEVICES)]
            for institution in self.keys
        }

    @property
    def public_keys(self) -> dict[str, str]:
        """The identifier of the key of each institution, as envelopes name it."""
        return {name: envelope.key_identifier(envelope.public_key_of(key)) for name, key in self.keys.items()}

    def write_pins(self, file: Path) -> None:
        """Write the vendor's pin file."""
        stated = 'category = "exam"\nidentity = "public"\n'
        entries = [
            f'[[endpoint]]\nhost = "{one.host}"\n{stated}pins = ["sha256:{one.pins[0].hex()}"]\n'
            for one in self.endpoints
        ]
        file.write_text('schema = 1\nname = "platform"\n' + "".join(entries), encoding="utf-8")

    def bundle(self, institution: str, number: int, at: dt.datetime) -> bytes:
        """A reduced bundle of one device, with handshakes of its own."""
        device = self._devices[institution][number % DEVICES]
        parts = []
        for place, (one, issued) in enumerate(zip(device.endpoints, device.issued, strict=True), start=1):
            (connection,) = one.looks
            signed = msgspec.structs.replace(
                connection, handshake_signature=handshake_signature(issued, secrets.token_bytes(32))
            )
            parts.append(_part(f"endpoint-{place}", msgspec.structs.replace(one, looks=(signed,), at=at)))
        digests = {part.name: part.sha256 for part in parts}
        manifest = msgspec.structs.replace(
            device.manifest,
            started=at,
            finished=at,
            parts=tuple(
                msgspec.structs.replace(entry, sha256=digests.get(entry.name, entry.sha256))
                for entry in device.manifest.parts
            ),
        )
        return form.write(form.seal(manifest, (*parts, *device.others), [self.keys[institution]]))

    def reports(self, count: int, *, at: dt.datetime | None = None) -> Iterator[Reported]:
        """So many submissions, of all institutions in turn."""
        names = sorted(self.keys)
        at = (at or dt.datetime.now(dt.UTC)).replace(microsecond=0) - dt.timedelta(minutes=5)
        for number in range(count):
            institution, device = names[number % len(names)], number // len(names)
            yield self.report(
                institution,
                submission.Kind.BUNDLE,
                self.bundle(institution, device, at),
                at=at,
                student=f"{institution} student {device}",
                intercepted=device % DEVICES < INTERCEPTED,
            )

    def report(  # noqa: PLR0913 - keyword-only past what is reported; a submission is made of these
        self,
        institution: str,
        kind: submission.Kind,
        content: bytes,
        *,
        at: dt.datetime,
        student: str,
        exam: str = "finals",
        intercepted: bool = False,
    ) -> Reported:
        """One submission, signed by the institution's key."""
        made = encode(
            submission.Submission(
                institution=institution,
                exam=exam,
                student=self._pseudonym(student),
                network=self._pseudonym(f"{student} at home"),
                made=at,
                kind=kind,
                content=msgspec.Raw(content.strip()),
            )
        )
        sealed = envelope.seal(made, payload_type=submission.PAYLOAD_TYPE, keys=[self.keys[institution]])
        return Reported(institution, submission.digest(made), sealed, intercepted)

    def _pseudonym(self, name: str) -> str:
        """A name as a client sends it."""
        return hmac.digest(self._secret, name.encode(), "sha256").hex()


def _device(pki: PrivatePKI, genuine: dict[str, Issued], *, intercepted: bool) -> _Device:
    """The bundle of a device whose connections are genuine, or decrypted with a key of its own."""
    product = pki.private_ca("Sample Web Shield Root")
    issued = tuple(product.issue([host]) if intercepted else served for host, served in genuine.items())
    context = Context(at=pki.now, data=data_set.shipped(), roots=_ROOTS, logs=data_set.shipped().logs)
    cases = [
        _recorded(host, shown, genuine[host].spki_sha256, context) for host, shown in zip(genuine, issued, strict=True)
    ]
    report = network.report(
        assess.assess_all(cases), context, started=pki.now, finished=pki.now, vantage="-", version=VERSION, named=()
    )
    read = bundle.read(contents.reduce(bundle.pack(report, cases), keys=()))
    endpoints = tuple(part.content for part in read.parts if isinstance(part.content, form.RecordedEndpoint))
    others = tuple(part for part in read.file.parts if not part.name.startswith(form.PartKind.ENDPOINT))
    return _Device(read.manifest, endpoints, others, issued)


def _recorded(host: str, shown: Issued, pin: bytes, context: Context) -> EndpointEvidence:
    facts: dict[str, Any] = {
        "outcome": Outcome.COMPLETE,
        "key_proved": True,
        "route": Route.DIRECT,
        "address": "8.8.4.4:443",
        "timings_ms": {"connect": 12.5},
        "tls_version": "TLSv1.3",
        "cipher": "TLS_AES_128_GCM_SHA256",
        "scts_carried": True,
    }
    observation = Observation(
        chain=tuple(Certificate.read(der).presented() for der in shown.chain),
        handshake_signature=handshake_signature(shown),
        **facts,
    )
    return EndpointEvidence(_pinned(host, pin), observation, context)


def _pinned(host: str, pin: bytes) -> Endpoint:
    return Endpoint(host=host, category=Category.EXAM, pins=(pin,), identity=RecordedIdentity.PUBLIC)


def _part(name: str, content: form.Content) -> form.CarriedPart:
    salt = base64.urlsafe_b64encode(secrets.token_bytes(form.SALT_BYTES)).rstrip(b"=").decode()
    return form.CarriedPart(name=name, salt=salt, content=encode(content).decode())


_ROOTS: Final = data_set.shipped().public_roots()
