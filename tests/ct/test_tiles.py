"""Room: tests of ct."""

from __future__ import annotations

import pytest
from detector_testing import StaticLog
from hypothesis import given
from hypothesis import strategies as st

from detector.ct import tiles
from detector.ct.tiles import Tile


def test_an_index_is_written_in_groups_of_three_digits() -> None:
    """Paths are those of the specification's example."""
    assert Tile(0, 1234067).path == "tile/0/x001/x234/067"
    assert Tile(2, 0, 1).path == "tile/2/000.p/1"
    assert tiles.data_path(273, 112) == "tile/data/273.p/112"
    assert tiles.data_path(1000) == "tile/data/x001/000"


def test_the_edge_of_a_tree_is_that_of_the_specification() -> None:
    """A tree of 70,000 entries has three partial tiles; one of 256 a partial tile of one hash above a whole one."""
    assert tiles.edge(70_000) == (Tile(2, 0, 1), Tile(1, 1, 17), Tile(0, 273, 112))
    assert tiles.edge(256) == (Tile(1, 0, 1),)
    assert tiles.edge(0) == ()


@pytest.mark.parametrize("size", [0, 1, 2, 3, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537, 70_000])
def test_the_root_follows_from_the_edge(size: int) -> None:
    """The root over the tiles of the edge is the root by the definition of RFC 6962."""
    log = StaticLog.create()
    log.fill(size, lambda index: b"%d" % index)
    files = log.files()
    edge = {tile: tiles.split(files[tile.path]) for tile in tiles.edge(size)}
    assert tiles.root(edge, size) == log.root()


@given(st.integers(0, tiles.SIZE_MAX))
def test_the_edge_counts_every_entry_once(size: int) -> None:
    """The widths of the edge are the digits of the size to the base 256."""
    assert sum(tile.width * 256**tile.level for tile in tiles.edge(size)) == size
    assert all(0 < tile.width < 256 and tile.level <= 4 for tile in tiles.edge(size))
