"""Which engine runs a page, by what a script in it reports (docs/examples/engine-check.js).

Room: origin. Pure: the bytes of a report in, a family out. Never raises: the bytes are a stranger's.

The script asks for what only one engine has, and not for names, so that a changed User-Agent changes nothing. A person
can write any report about the own session, and so the table wants the reports of several people.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from detector.knowledge.browser_offers import Family
from detector.model import json_text

REPORT_BYTES_MAX: Final = 1024
"""Bytes of a report that is read; the script's has under 300."""

FEATURES: Final = {
    Family.CHROMIUM: frozenset({"blink-app-region", "blink-text-breaks"}),
    Family.FIREFOX: frozenset({"gecko-error", "gecko-orientation"}),
    Family.SAFARI: frozenset({"webkit-fonts", "webkit-gestures"}),
}
"""What each engine has and the others have not: app-region and Intl.v8BreakIterator, InternalError and -moz-orient,
GestureEvent and Apple's system fonts. Measured with Chromium 156 and Firefox 153; WebKit's as Apple documents them."""


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the script sends."""

    version: Literal[1]
    features: dict[str, bool]


def engine_of(report: bytes) -> Family | None:
    """Return the family whose features are all reported, and none of another one's; None for anything else."""
    if len(report) > REPORT_BYTES_MAX:
        return None
    try:
        features = json_text.decode(report, Report).features
    except json_text.MalformedError:
        return None
    present = frozenset(name for name, is_there in features.items() if is_there)
    if not frozenset().union(*FEATURES.values()) <= features.keys():
        return None
    return next((family for family, own in FEATURES.items() if own == present), None)
