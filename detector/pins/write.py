"""Formats a pin set as a pin file that people can read and that `load` reads back equal.

Room: pins. Pure: returns text, writes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.aio.lazy import LazyModule
from detector.errors import PinFileError
from detector.model import Category, Endpoint, RecordedIdentity
from detector.model.endpoint import encode_pin
from detector.model.validate import HTTPS_PORT

from .encoding import encode_witness_key
from .load import SCHEMA

if TYPE_CHECKING:
    import json
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .load import PinSet
else:  # reading pin files does without
    json = LazyModule("json")

_COMMENT: Final = 200
"""Longest comment line in characters: some of it is copied from certificates, which can hold anything."""


def dump(
    pin_set: PinSet,
    *,
    header: Sequence[str] = (),
    comments: Mapping[str, Sequence[str]] | None = None,
    private_roots: Mapping[bytes, str] | None = None,
) -> str:
    """Return the text of a pin file (TOML, UTF-8 when saved) with the endpoints in the order of the set.

    Canaries are not marked as such: only the knowledge may do that. `header` are comment lines for the top, `comments`
    those on how the pins of an endpoint (`host:port`) were learned. `private_roots` are the files, relative to the pin
    file, that hold each DER certificate.

    Raises:
        PinFileError: an endpoint expires on another day than the set, or the file of a private root is not given.
    """
    lines = [*_comments(header), f"schema = {SCHEMA}", f"name = {_text(pin_set.name)}"]
    if pin_set.updated:
        lines.append(f"updated = {pin_set.updated.isoformat()}")
    if pin_set.expires:
        lines.append(f"expires = {pin_set.expires.isoformat()}  # last day on which the pins are evaluated")
    for endpoint in pin_set.endpoints:
        if endpoint.expires != pin_set.expires:
            raise PinFileError(
                f"{endpoint.name}: expires on another day than the rest, which one pin file cannot say.",
                advice="Write one file for each day.",
            )
        lines += ["", "[[endpoint]]", *_comments((comments or {}).get(endpoint.name, ()))]
        lines += _endpoint(endpoint, private_roots or {})
    return "\n".join(lines) + "\n"


def _endpoint(endpoint: Endpoint, private_roots: Mapping[bytes, str]) -> Iterator[str]:
    yield f"host = {_text(endpoint.host)}"
    if endpoint.port != HTTPS_PORT:
        yield f"port = {endpoint.port}"
    if endpoint.category is not Category.OTHER:
        yield f"category = {_text(endpoint.category.value)}"
    if endpoint.operator is not None:
        yield f"operator = {_text(endpoint.operator)}"
    if endpoint.identity is not RecordedIdentity.UNKNOWN:
        yield f"identity = {_text(endpoint.identity.value)}"
    yield from _list("pins", map(encode_pin, endpoint.pins))
    yield from _list("backup_pins", map(encode_pin, endpoint.backup_pins))
    yield from _list("certificates", (f"sha256:{digest.hex()}" for digest in endpoint.certificates))
    yield from _list("roots", endpoint.roots)
    missing = [der for der in endpoint.private_roots if der not in private_roots]
    if missing:
        raise PinFileError(
            f"{endpoint.name}: {len(missing)} private roots have no file to name.", advice="Save them as PEM first."
        )
    yield from _list("private_roots", dict.fromkeys(private_roots[der] for der in endpoint.private_roots))
    yield from _list("witness", map(encode_witness_key, endpoint.witness))
    if endpoint.witness_is_end:
        yield "witness_is_end = true"
    if endpoint.quic:
        yield "quic = true"
    if endpoint.address is not None:
        host, port = endpoint.address
        yield f"address = {_text(Endpoint(host=host, port=port).name)}"


def _list(key: str, values: Iterable[str]) -> Iterator[str]:
    texts = [_text(value) for value in values]
    if len(texts) == 1:
        yield f"{key} = [{texts[0]}]"
    elif texts:
        yield f"{key} = ["
        yield from (f"  {text}," for text in texts)
        yield "]"


def _text(text: str) -> str:
    """Encode a TOML basic string: JSON's escapes are a subset of TOML's, which also requires DEL escaped (TOML 1.0)."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _comments(lines: Iterable[str]) -> Iterator[str]:
    """Yield comment lines. Unprintable characters are replaced: a comment must never become a line of its own."""
    for line in lines:
        yield "# " + "".join(character if character.isprintable() else "?" for character in line[:_COMMENT])
