"""Data sets for tests: the shipped one with other content in some parts. Room: tests; no sockets, no clock."""

from __future__ import annotations

from typing import Any

from detector.knowledge.data_set import DataSet


def with_parts(**parts: Any) -> DataSet:  # noqa: ANN401 - the value of any part
    """What the package ships, but for these parts, by the names of `DataSet`'s properties."""
    data = DataSet()
    vars(data).update(parts)  # as its cached properties keep them
    return data
