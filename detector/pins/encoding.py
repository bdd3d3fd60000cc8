"""The text form of pins: 32 bytes of SHA-256 (RFC 7469 section 2.1.1 gives the base64 form), and of witness keys.

Room: pins. Pure. A witness's key, 32 bytes of Ed25519, has the same form behind another prefix.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

DIGEST_BYTES: Final = 32
"""Length of a SHA-256 digest in bytes (FIPS 180-4)."""

MAX_CHARACTERS: Final = 128
"""Longest text that is parsed: `sha256:` and 64 hexadecimal digits are 71 characters; no pin is longer."""

WITNESS_PREFIX: Final = "ed25519/"
WITNESS_KEY_BYTES: Final = 32
"""Length of an Ed25519 public key in bytes (RFC 8032 section 5.1.5)."""

_HEX: Final = re.compile(r"[0-9a-fA-F]*\Z")


def parse_pin(text: str) -> bytes:
    """Parse `sha256/<base64>`, bare base64, or `sha256:<hexadecimal>`. The words of its ValueError complete "it …"."""
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"is {len(text)} characters long, which no SHA-256 pin is")
    if text.startswith("sha256:"):
        digits = text.removeprefix("sha256:")
        if not _HEX.match(digits) or len(digits) % 2:
            raise ValueError("is not hexadecimal after sha256:")
        digest = bytes.fromhex(digits)
    else:
        digest = _decode(text.removeprefix("sha256/"))
    if len(digest) != DIGEST_BYTES:
        raise ValueError(f"decodes to {len(digest)} bytes; a SHA-256 digest has {DIGEST_BYTES}")
    return digest


def encode_witness_key(key: bytes) -> str:
    """Encode a raw Ed25519 public key (32 bytes, RFC 8032 section 5.1.5) as `ed25519/<base64>`."""
    return WITNESS_PREFIX + base64.b64encode(key).decode("ascii")


def parse_witness_key(text: str) -> bytes:
    """Parse a witness's key, `ed25519/<base64>`. The words of its ValueError complete "it …"."""
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"is {len(text)} characters long, which no Ed25519 key is")
    if not text.startswith(WITNESS_PREFIX):
        raise ValueError(f"does not begin with {WITNESS_PREFIX}")
    key = _decode(text.removeprefix(WITNESS_PREFIX))
    if len(key) != WITNESS_KEY_BYTES:
        raise ValueError(f"decodes to {len(key)} bytes; an Ed25519 public key has {WITNESS_KEY_BYTES}")
    return key


def _decode(encoded: str) -> bytes:
    try:
        decoded = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        raise ValueError("is not base64") from None
    if base64.b64encode(decoded).decode("ascii") != encoded:
        raise ValueError("is not base64 as a program writes it (a character was changed)")
    return decoded
