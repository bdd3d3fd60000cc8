"""The form of the catalogue's data file.

Room: knowledge. Pure: `detector.knowledge.data_set` reads the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from detector.aio.lazy import LazyModule
from detector.knowledge.part import Head, Text

from .entries import Entry, Match

if TYPE_CHECKING:
    from . import patterns
else:  # for catalogues of updates
    patterns = LazyModule("detector.knowledge.catalogue.patterns")

_ENTRIES_MAX: Final = 2048
"""Entries of a catalogue; the shipped one has 142."""
PARTIAL_MAX: Final = 1024
"""Facts of a catalogue that are compared one by one with every value: parts of values, and patterns. The shipped one
has 111."""


class CatalogueFile(Head, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of interceptors.json. `date` is the day its facts were last reviewed.

    `unnamed` are products whose operator names their CA, so that no certificate can name the product. For maintainers.
    """

    entries: Annotated[tuple[Entry, ...], msgspec.Meta(max_length=_ENTRIES_MAX)]
    unnamed: Annotated[tuple[dict[str, Text], ...], msgspec.Meta(max_length=_ENTRIES_MAX)] = ()

    def verify(self) -> None:
        """Raise ValueError for a pattern that is not of the form of `patterns`."""
        for number, entry in enumerate(self.entries):
            for place, fact in enumerate(entry.facts):
                if fact.match is Match.REGEX:
                    try:
                        patterns.check(fact.value)
                    except ValueError as error:
                        raise ValueError(f"`entries[{number}].facts[{place}]`: {error}") from error

    def __post_init__(self) -> None:
        partial = sum(fact.match is not Match.EXACT for entry in self.entries for fact in entry.facts)
        if partial > PARTIAL_MAX:
            raise ValueError(
                f"`entries` have {partial} facts that are parts of values, and at most {PARTIAL_MAX} are read"
            )
