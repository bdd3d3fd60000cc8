"""Writes a pin set as a pin file that people can read and `load` reads back equal.

Room: pins. Pure: gives text, writes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.errors import PinFileError
from detector.model import Category, Endpoint, RecordedIdentity

from .encoding import spell, spell_witness_key
from .load import SCHEMA
from .target import HTTPS_PORT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .load import PinSet

_COMMENT: Final = 200
"""Longest comment line in characters: some of it is copied from certificates, which can hold anything."""


def dump(
    pin_set: PinSet,
    *,
    header: Sequence[str] = (),
    comments: Mapping[str, Sequence[str]] | None = None,
    private_roots: Mapping[bytes, str] | None = None,
) -> str:
    """Give the text of a pin file (TOML, UTF-8 when saved) with the endpoints in the order of the set.

    `header` are comment lines for the top, `comments` maps an endpoint's name (`host:port`) to comment lines on how
    its pins were learned. `private_roots` maps a DER certificate to the file that holds it, relative to the pin file.
    Which endpoints are canaries is the knowledge's to say, so that is not written.
    One file has one `expires`: the set's. Raises `PinFileError` when an endpoint has another one, or a private root
    whose file is not given.
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
    yield from _list("pins", map(spell, endpoint.pins))
    yield from _list("backup_pins", map(spell, endpoint.backup_pins))
    yield from _list("certificates", (f"sha256:{digest.hex()}" for digest in endpoint.certificates))
    yield from _list("roots", endpoint.roots)
    missing = [der for der in endpoint.private_roots if der not in private_roots]
    if missing:
        raise PinFileError(
            f"{endpoint.name}: {len(missing)} private roots have no file to name.", advice="Save them as PEM first."
        )
    yield from _list("private_roots", dict.fromkeys(private_roots[der] for der in endpoint.private_roots))
    yield from _list("witness", map(spell_witness_key, endpoint.witness))
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
    """Spell a TOML basic string: JSON's escapes are a subset of TOML's, which also wants DEL escaped (TOML 1.0)."""
    import json  # noqa: PLC0415 - who reads pin files need not wait for what writes them

    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _comments(lines: Iterable[str]) -> Iterator[str]:
    """Spell comment lines. What cannot be printed is replaced: a comment must never become a line of its own."""
    for line in lines:
        yield "# " + "".join(character if character.isprintable() else "?" for character in line[:_COMMENT])
