"""The base of every record: frozen, with JSON and a JSON Schema.

Room: model. Pure. JSON: lower-case hyphenated enum values, RFC 3339 UTC times, hexadecimal hashes, base64 DER.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Final

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""A number in a record that may be decoded: msgspec decodes larger ones, and cannot encode them again."""

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
"""A port (RFC 9293 section 3.1) in a record that may be decoded."""

Moment = Annotated[dt.datetime, msgspec.Meta(tz=True)]
"""A time with an offset in a record that may be decoded: one without can be compared with none of ours."""


_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def from_milliseconds(number: int) -> dt.datetime | None:
    """The time that many milliseconds after the epoch (RFC 6962 section 3.2); None past the year 9999."""
    try:
        return _EPOCH + dt.timedelta(milliseconds=number)
    except OverflowError:
        return None


class Record(msgspec.Struct, frozen=True):
    """Base of every record. Subclasses repeat `frozen` and `kw_only`, because the latter is not inherited."""


_ENCODER: Final = msgspec.json.Encoder()


def encode(record: Record) -> bytes:
    """Encode a record as JSON."""
    return _ENCODER.encode(record)


def normalize_schema(schema: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Sort the alternatives of a JSON Schema, which versions of msgspec list in different orders."""
    if isinstance(schema, dict):
        parts = {key: normalize_schema(value) for key, value in schema.items()}
        if "anyOf" in parts:
            parts["anyOf"] = sorted(parts["anyOf"], key=repr)
        return parts
    return [normalize_schema(item) for item in schema] if isinstance(schema, list) else schema


def schema(record: type[Record], *, title: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a record."""
    content = normalize_schema(msgspec.json.schema(record))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **content}
