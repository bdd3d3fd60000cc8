"""The keys that a client reports with.

Room: outbox. Reads the files that the settings name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from detector.errors import InputError
from detector.model.validate import naming
from detector.pins.encoding import parse_witness_key
from detector.trust.envelope import KEY_PREFIX
from detector.trust.key_files import load_public_key, load_signing_key

from . import pseudonyms

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from .settings import ReportSettings


class ReportKeys(NamedTuple):
    """The institution's signing key, the collector's public keys (32 raw bytes each), and the key for pseudonyms."""

    signing: Ed25519PrivateKey
    receipts: tuple[bytes, ...]
    pseudonyms: bytes | None = None

    @classmethod
    def load(cls, settings: ReportSettings, *, student: str | None = None) -> Self:
        """Load the keys that settings name. Raises `KeyFileError`, and `InputError` where a student needs a key."""
        with naming("key"):
            signing = load_signing_key(settings.key)
        receipts = load_receipt_keys(settings.receipt_key)
        if settings.pseudonym_key is None:
            if student is not None or settings.network is not None:
                raise InputError(
                    "pseudonym_key: is needed to report a student or a network: only a keyed hash of it is sent.",
                    advice="Make one with `detector outbox keygen`, and give every client of the institution the same.",
                )
            return cls(signing, receipts)
        with naming("pseudonym_key"):
            return cls(signing, receipts, pseudonyms.load_key(settings.pseudonym_key))


def load_receipt_keys(values: Iterable[str]) -> tuple[bytes, ...]:
    """The public keys of a collector, each `ed25519/<base64>` or a PEM file. Raises `InputError`."""
    with naming("receipt_key"):
        return tuple(map(_public_key, values))


def _public_key(value: str) -> bytes:
    """A public key as `ed25519/<base64>`, or from a PEM file. Raises `InputError`."""
    if not value.startswith(KEY_PREFIX):
        return load_public_key(value)
    try:
        return parse_witness_key(value)
    except ValueError as error:
        raise InputError(f"this key {error}.", advice="Write it as the collector shows it.") from error
