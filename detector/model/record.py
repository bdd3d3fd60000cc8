"""What every record has in common: frozen, with JSON and a JSON Schema of its own.

Room: model. Pure. JSON: lower-case hyphenated enum values, RFC 3339 UTC times, hexadecimal hashes, base64 DER.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec


class Record(msgspec.Struct, frozen=True):
    """Base of every record. Subclasses say `frozen` and `kw_only` themselves: the second is not inherited."""


_ENCODER: Final = msgspec.json.Encoder()


def encode(record: Record) -> bytes:
    """Any record as JSON."""
    return _ENCODER.encode(record)


def in_one_order(schema: Any) -> Any:  # noqa: ANN401 - JSON
    """Alternatives sorted: versions of msgspec list them differently."""
    if isinstance(schema, dict):
        parts = {key: in_one_order(value) for key, value in schema.items()}
        if "anyOf" in parts:
            parts["anyOf"] = sorted(parts["anyOf"], key=repr)
        return parts
    return [in_one_order(item) for item in schema] if isinstance(schema, list) else schema


def schema(record: type[Record], *, title: str) -> dict[str, Any]:
    """JSON Schema (2020-12) of a record."""
    of_record = in_one_order(msgspec.json.schema(record))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **of_record}
