"""Tiles of a Merkle tree: which there are for a size, where they are, and what they hash to.

Room: ct. Pure. https://c2sp.org/static-ct-api, Merkle Tree; hashes as in RFC 6962 section 2.1.

A tile is 256 hashes of one level: leaves at level 0, roots of whole tiles of the level below otherwise. The rightmost
tile of a level may be partial. The partial tiles of a size, one for each level, determine the root: they are the
*edge*. Every other tile is whole, and hashes to an entry of the tile above it, which ends in the edge.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WIDTH: Final = 256
"""Hashes of a whole tile."""
ROOT_BYTES: Final = 32
TILE_BYTES: Final = WIDTH * ROOT_BYTES
SIZE_MAX: Final = 2**40 - 1
"""The largest tree: the index of an entry has 40 bits (static-ct-api, SCT Extension). It has levels 0 to 4."""
EMPTY: Final = hashlib.sha256(b"").digest()
"""The root of a tree without entries (RFC 6962 section 2.1)."""

_WIDTH_BITS: Final = 8
_LEAF: Final = b"\x00"
_NODE: Final = b"\x01"
_PATH_BASE: Final = 1000


class Tile(NamedTuple):
    """A tile of hashes: its level, its number in that level, and how many hashes it has."""

    level: int
    number: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """Where it is, relative to the log's monitoring prefix."""
        return f"tile/{self.level}/{_numbered(self.number, self.width)}"

    @property
    def whole(self) -> Tile:
        """The tile once it is no longer partial."""
        return self._replace(width=WIDTH)


def data_path(index: int, width: int = WIDTH) -> str:
    """Where the entries of a level 0 tile are."""
    return f"tile/data/{_numbered(index, width)}"


def _numbered(index: int, width: int) -> str:
    """An index in groups of three digits, all but the last with an x, and the width of a partial tile."""
    groups = [f"{index % _PATH_BASE:03d}"]
    while index := index // _PATH_BASE:
        groups.insert(0, f"x{index % _PATH_BASE:03d}")
    return "/".join(groups) + ("" if width == WIDTH else f".p/{width}")


def edge(size: int) -> tuple[Tile, ...]:
    """The partial tiles of a tree of this size, highest level first."""
    levels = range((size.bit_length() + _WIDTH_BITS - 1) // _WIDTH_BITS - 1, -1, -1)
    tiles = (Tile(level, size >> _WIDTH_BITS * (level + 1), (size >> _WIDTH_BITS * level) % WIDTH) for level in levels)
    return tuple(tile for tile in tiles if tile.width)


def leaf_hash(data: bytes) -> bytes:
    """The hash of an entry."""
    return hashlib.sha256(_LEAF + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees."""
    return hashlib.sha256(_NODE + left + right).digest()


def split(data: bytes) -> list[bytes]:
    """The hashes of a tile."""
    return [data[at : at + ROOT_BYTES] for at in range(0, len(data), ROOT_BYTES)]


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """The root over a power of two of hashes, such as those of a whole tile."""
    while len(hashes) > 1:
        hashes = [node_hash(hashes[at], hashes[at + 1]) for at in range(0, len(hashes), 2)]
    return hashes[0]


def root(edge_hashes: Mapping[Tile, Sequence[bytes]], size: int) -> bytes:
    """The root of a tree of this size from the hashes of its edge.

    The binary digits of the size are its perfect subtrees from left to right; the tree joins them from the right
    (RFC 6962 section 2.1: the left part is the largest power of two).
    """
    subtrees: list[bytes] = []
    for tile in edge(size):
        hashes, at = edge_hashes[tile], 0
        for bit in range(_WIDTH_BITS - 1, -1, -1):
            if tile.width >> bit & 1:
                subtrees.append(perfect_root(hashes[at : at + (1 << bit)]))
                at += 1 << bit
    if not subtrees:
        return EMPTY
    found = subtrees.pop()
    while subtrees:
        found = node_hash(subtrees.pop(), found)
    return found


def parent(tile: Tile) -> tuple[int, int, int]:
    """Level and index of the tile that has the hash of this whole tile, and its place there."""
    return tile.level + 1, tile.number >> _WIDTH_BITS, tile.number % WIDTH
