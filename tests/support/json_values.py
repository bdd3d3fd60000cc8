"""Walks JSON values, for tests that change one value after the other.

Room: tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

FOREIGN: Final[tuple[Any, ...]] = (
    *(None, True, 0, -1, 2**70, -(2**70), 1.5, 1e308, "", "x", [], {}, "clean"),
    *("2026-01-01T00:00:00", "2026-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59"),
)
"""Values of other types, out of range, and times without an offset or before the calendar."""


def places(value: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401 - any JSON value
    """Every (container, key) within a JSON value."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])
