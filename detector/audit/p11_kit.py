"""What p11-kit's trust module trusts, from the output of `trust dump`.

Room: audit. `parse` is pure; `p11_kit_roots` runs the program it is given.

The format is p11-kit's persistence format (p11-kit, trust/persist.c): objects begin with `[p11-kit-object-v1]`, then
stand attributes as `name: value` and PEM blocks. A certificate is an anchor when `trusted: true`, and refused when
`x-distrusted: true`, which wins.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from . import files
from .entries import InstalledRoot, UnreadableStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .programs import Run

STORE: Final = "p11-kit"
_OBJECT: Final = re.compile(rb"^\[p11-kit-object-v1\][ \t\r]*$", re.MULTILINE)
_ATTRIBUTE: Final = re.compile(
    rb"^[ \t]*(class|trusted|x-distrusted)[ \t]*:[ \t]*([^\r\n]{0,64}?)[ \t\r]*$", re.MULTILINE
)


class TrustObject(NamedTuple):
    """A certificate of the dump and what is said about it."""

    der: bytes
    trusted: bool
    distrusted: bool


class Dump(NamedTuple):
    """The certificates of a dump and the number of damaged ones."""

    certificates: tuple[TrustObject, ...]
    damaged: int


def p11_kit_roots(trust: str, run: Run) -> Iterator[InstalledRoot | UnreadableStore]:
    """The anchors of p11-kit. `trust` is the path of the program, `run` runs it and may raise `StoreError`."""
    try:
        dump = parse(run([trust, "dump"]))
    except files.StoreError as error:
        yield UnreadableStore(store=STORE, reason=str(error))
        return
    for found in dump.certificates:
        if found.trusted or found.distrusted:
            yield InstalledRoot(der=found.der, store=STORE, distrusted=found.distrusted)
    if dump.damaged:
        yield UnreadableStore(store=STORE, reason=files.damage(dump.damaged))


def is_persisted(data: bytes) -> bool:
    """Whether a file is in p11-kit's persistence format, as some in its anchor directories are."""
    return _OBJECT.search(data) is not None


def parse(output: bytes) -> Dump:
    """Read the output of `trust dump`, or a file in the same format. Never raises; what is no certificate object is passed over."""
    starts = [match.end() for match in _OBJECT.finditer(output)]
    objects: list[TrustObject] = []
    damaged = 0
    for start, end in zip(starts, [*starts[1:], len(output)], strict=True):
        text = output[start:end]
        attributes = {name: value.strip(b'"') for name, value in _ATTRIBUTE.findall(text)}
        if attributes.get(b"class", b"certificate") != b"certificate":
            continue
        blocks = files.pem(text)
        damaged += blocks.damaged
        if len(objects) >= files.CERTIFICATES_MAX:
            damaged += len(blocks.certificates)
            continue
        objects.extend(
            TrustObject(
                block.der,
                attributes.get(b"trusted") == b"true",
                block.distrusted or attributes.get(b"x-distrusted") == b"true",
            )
            for block in blocks.certificates
        )
    refused = {found.der for found in objects if found.distrusted}
    return Dump(tuple(found._replace(distrusted=found.der in refused) for found in objects), damaged)
