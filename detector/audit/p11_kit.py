"""What p11-kit's trust module trusts, from the output of `trust dump`.

Room: audit. `parse` is pure; `p11_kit_roots` runs the program it is given.

The format is p11-kit's persistence format (p11-kit, trust/persist.c): objects begin with `[p11-kit-object-v1]`,
followed by attributes as `name: value` and PEM blocks. A certificate is an anchor if `trusted: true`, and refused if
`x-distrusted: true`, which takes precedence.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Final

from . import files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .entries import Found
    from .programs import Run

STORE: Final = "p11-kit"
_OBJECT: Final = re.compile(rb"^\[p11-kit-object-v1\][ \t\r]*$", re.MULTILINE)
_ATTRIBUTES: Final = frozenset({b"class", b"trusted", b"x-distrusted"})
"""The attributes that decide."""
_LINE_BYTES_MAX: Final = 128
"""Bytes of a line that can be one of these attributes; with a value they have under 40."""


def p11_kit_roots(trust: str, run: Run) -> Iterator[Found]:
    """The anchors of p11-kit. `trust` is the path of the program, `run` runs it and may raise `StoreError`."""
    return files.roots_of(STORE, lambda: anchors(run([trust, "dump"])))


def is_persisted(data: bytes) -> bool:
    """Whether a file is in p11-kit's persistence format, as some in its anchor directories are."""
    return _OBJECT.search(data) is not None


def anchors(output: bytes) -> files.Blocks:
    """The result of `parse` without certificates that are neither trusted nor refused. Never raises."""
    dump = parse(output)
    return dump._replace(certificates=tuple(c for c in dump.certificates if c.trusted or c.distrusted))


def parse(output: bytes) -> files.Blocks:
    """Read the output of `trust dump`, or a file in the same format; skips other objects. Never raises."""
    starts = [match.end() for match in _OBJECT.finditer(output)]
    objects: list[files.Block] = []
    damaged = 0
    for start, end in itertools.pairwise([*starts, len(output)]):
        text = output[start:end]
        attributes = _attributes(text)
        if attributes.get(b"class", b"certificate") != b"certificate":
            continue
        blocks = files.pem(text)
        damaged += blocks.damaged
        if len(objects) >= files.CERTIFICATES_MAX:
            damaged += len(blocks.certificates)
            continue
        refuses, trusted = (attributes.get(name) == b"true" for name in (b"x-distrusted", b"trusted"))
        objects += [files.Block(block.der, block.distrusted or refuses, trusted) for block in blocks.certificates]
    refused = {found.der for found in objects if found.distrusted}
    return files.Blocks(tuple(found._replace(distrusted=found.der in refused) for found in objects), damaged)


def _attributes(text: bytes) -> dict[bytes, bytes]:
    found = {}
    for line in text.split(b"\n"):
        if len(line) <= _LINE_BYTES_MAX:
            name, _, value = line.partition(b":")
            if name.strip() in _ATTRIBUTES:
                found[name.strip()] = value.strip().strip(b'"')
    return found
