"""Validation of what a caller chose: each function returns the value it was given, or says which field is wrong.

Room: model. Pure.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Final

from detector.errors import InputError

from .toml_files import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PORT_MAX: Final = 65535
"""Largest TCP port number (RFC 9293 section 3.1)."""

HTTPS_PORT: Final = 443
"""Default port of an https URL (RFC 9110 section 4.2.2)."""

SHA256_BYTES: Final = 32


@contextlib.contextmanager
def naming(field: str) -> Iterator[None]:
    """Name the field, or the option of a command, in front of the message of every `InputError`, once."""
    try:
        yield
    except InputError as error:
        if not error.message.startswith(f"{field}: "):
            error.message = f"{field}: {error.message}"
        raise


def one_of(
    field: str, value: object, known: Iterable[str], *, error: type[InputError] = InputError, advice: str = ""
) -> str:
    """Return a string that is one of `known`; `advice` follows the list of them in the error."""
    known = list(known)
    if not isinstance(value, str) or value not in known:
        raise error(
            f"{field}: {shown(value)} is not a valid value.", advice=f"Choose one of {', '.join(known)}{advice}."
        )
    return value


def seconds(
    field: str, value: object, *, least: float = 0.0, most: float = math.inf, error: type[InputError] = InputError
) -> float:
    """Return a number of seconds from `least` to `most`; NaN is in no range."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise error(f"{field}: is not a number of seconds.", advice=f"Write {field} = 3.0, without quotes.")
    if not least <= value <= most:
        between = (
            f"not between {least} and {most:.0f}" if math.isfinite(most) else f"less than {least}, or not a number"
        )
        raise error(f"{field}: {shown(value)} is {between} seconds.", advice=f"Write {field} = 3.0, without quotes.")
    return float(value)


def whole_number(field: str, value: object, *, least: int, most: int, error: type[InputError] = InputError) -> int:
    """Return a whole number from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise error(
            f"{field}: {shown(value)} is out of range.", advice=f"Give {field} as a whole number, {least} to {most}."
        )
    return value


def flag(field: str, value: object, *, error: type[InputError] = InputError) -> bool:
    """Return a truth value."""
    if not isinstance(value, bool):
        raise error(f"{field}: is neither true nor false.", advice=f"Write {field} = true, without quotes.")
    return value


def text(field: str, value: object, *, error: type[InputError] = InputError) -> str:
    """Return a string."""
    if not isinstance(value, str):
        raise error(f"{field}: {shown(value)} is not text.", advice=f'Write {field} = "…".')
    return value


def digests(field: str, values: Iterable[bytes], *, error: type[InputError] = InputError) -> None:
    """Refuse values that are not of 32 bytes: SHA-256 digests and Ed25519 public keys."""
    for value in values:
        if len(value) != SHA256_BYTES or not isinstance(value, bytes):
            raise error(f"{field}: a value has length {len(value)}.", advice="Give 32 bytes, not text.")
