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


LEAVES = ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)


@pytest.mark.parametrize(("size", "root"), list(enumerate(ROOTS, start=1)))
def test_roots_are_those_of_other_programs(size: int, root: str) -> None:
    """The eight trees that implementations of RFC 6962 compare each other with."""
    hashes = [tiles.leaf_hash(bytes.fromhex(leaf)) for leaf in LEAVES[:size]]
    (tile,) = tiles.edge(size)
    assert tiles.root({tile: hashes}, size).hex() == root


@given(st.integers(0, tiles.SIZE_MAX))
def test_the_edge_counts_every_entry_once(size: int) -> None:
    """The widths of the edge are the digits of the size to the base 256."""
    assert sum(tile.width * 256**tile.level for tile in tiles.edge(size)) == size
    assert all(0 < tile.width < 256 and tile.level <= 4 for tile in tiles.edge(size))
