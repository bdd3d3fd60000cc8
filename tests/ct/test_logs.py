"""Room: tests of ct."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization
from detector_testing import StaticLog, generate_key

from detector.ct import logs
from detector.errors import InputError
from detector.knowledge import ct_logs

if TYPE_CHECKING:
    from pathlib import Path

    from detector.model import Endpoint
    from detector.probe import Dialer

NOW = dt.datetime(2026, 11, 30, tzinfo=dt.UTC)


async def no_dialer(endpoint: Endpoint) -> Dialer:
    """Nothing is connected to."""
    raise AssertionError(endpoint)


def listing(**families: list[dict[str, Any]]) -> bytes:
    """A list in Google's format with one operator."""
    return json.dumps({"version": "1", "operators": [{"name": "Wood", **families}]}).encode()


def test_current_static_logs_with_an_address_are_followed() -> None:
    """Others are counted: of the other interface, without an address; retired, full and untrusted ones are nothing."""
    made = {name: StaticLog.create(name) for name in ("Elm", "Fir", "Oak", "Yew", "Ash", "Box")}
    listed = {name: log.listing(f"https://{name}.example/") for name, log in made.items()}
    del listed["Fir"]["monitoring_url"]
    listed["Oak"]["state"] = {"retired": {"timestamp": "2026-01-01T00:00:00Z"}}
    listed["Yew"]["temporal_interval"] = {
        "start_inclusive": "2025-01-01T00:00:00Z",
        "end_exclusive": "2026-01-01T00:00:00Z",
    }
    listed["Ash"]["state"] = {"pending": {"timestamp": "2026-01-01T00:00:00Z"}}
    dynamic = listed.pop("Box")
    read = ct_logs.parse(listing(logs=[dynamic], tiled_logs=list(listed.values())), name="list")
    selected = logs.select(read, NOW, no_dialer)
    (followed,) = selected.followed
    assert (followed.name.name, followed.name.operator) == ("Elm", "Wood")
    assert (followed.name.id, followed.key) == (made["Elm"].ct_log.log_id.hex(), made["Elm"].ct_log.public_key_der)
    assert followed.source.name == "https://Elm.example"
    assert (selected.dynamic, selected.unplaced) == (1, 1)


def test_a_log_is_named_by_place_and_key(tmp_path: Path) -> None:
    """PEM or DER; the place may have a = of its own."""
    log = StaticLog.create()
    place = tmp_path / "a=b"
    place.mkdir()
    pem, raw = tmp_path / "log.pem", tmp_path / "log.der"
    pem.write_bytes(log.key_pem)
    raw.write_bytes(log.ct_log.public_key_der)
    for key in (pem, raw):
        named = logs.named(f"{place}={key}", no_dialer)
        assert (named.key, named.name.id) == (log.ct_log.public_key_der, log.ct_log.log_id.hex())
        assert named.source.name == str(place)


@pytest.mark.parametrize("text", ["", "place", "=", "place=", "=key", "/no/such/place=key.pem"])
def test_a_log_without_place_or_key_is_refused(text: str) -> None:
    """Both are needed."""
    with pytest.raises(InputError, match=r"is not|has no key file"):
        logs.named(text, no_dialer)


def test_another_key_is_refused(tmp_path: Path) -> None:
    """Keys that RFC 6962 does not allow, private ones, and what is no key."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    edwards = generate_key("ed25519").public_key().public_bytes(serialization.Encoding.PEM, form)
    for content in (
        edwards,
        b"",
        b"text",
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        bytes(10**5),
    ):
        (tmp_path / "key").write_bytes(content)
        with pytest.raises(InputError):
            logs.read_public_key(str(tmp_path / "key"))
    with pytest.raises(InputError, match="cannot be read"):
        logs.read_public_key(str(tmp_path / "none"))


def test_a_url_of_a_list_that_cannot_be_requested_is_refused() -> None:
    """The list is at fault, and the error says so."""
    for url in ("https://user@host/", "file:///", "/", "https://host/?a", ""):
        read = ct_logs.parse(listing(tiled_logs=[StaticLog.create().listing(url)]), name="list")
        with pytest.raises(InputError):
            logs.select(read, NOW, no_dialer)
