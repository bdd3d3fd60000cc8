"""The head that every part of the knowledge begins with, and the age at which each part counts as old.

Room: knowledge. Pure.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

from detector.model import KnowledgeKind, Record
from detector.model.record import Count  # noqa: TC001 - msgspec resolves the annotations at run time
from detector.trust.ct_logs import LIST_HORIZON
from detector.trust.roots import ROOTS_HORIZON

HORIZONS: Final = {
    KnowledgeKind.ROOTS: ROOTS_HORIZON,
    KnowledgeKind.LOGS: LIST_HORIZON,
    KnowledgeKind.INTERMEDIATES: ROOTS_HORIZON,
    KnowledgeKind.REVOCATIONS: ROOTS_HORIZON,
    KnowledgeKind.CATALOGUE: dt.timedelta(days=365),
    KnowledgeKind.CLIENT_HELLOS: dt.timedelta(days=180),
    KnowledgeKind.BROWSER_OFFERS: dt.timedelta(days=180),
    KnowledgeKind.CANARIES: dt.timedelta(days=365),
    KnowledgeKind.PINS: dt.timedelta(days=365),
}
"""The age at which each part counts as old, whatever its own head says.

Roots and logs: what the rules that silence themselves then need. Intermediates and revocations come from the same
releases as roots. Catalogue: a year, in which a product releases its next version; no verdict depends on it, because
what it does not know only leaves an interceptor without name and mark. Hellos and offers: Chromium's and Firefox's last
changes of theirs lie 6 to 12 months apart (docs/adr/0006-browser-hello.md). Pin files say themselves when they expire;
a year is the longest that one counts as current."""


class Head(Record, frozen=True, kw_only=True):
    """What identifies a part, and how old it is.

    `schema` is the version of its form, `version` grows with each release of it. `date` is the day up to which it knows
    of changes, `horizon` the last day on which it counts as current by its publisher.
    """

    schema: Count
    version: Count
    date: dt.date
    horizon: dt.date

    def current_until(self, kind: KnowledgeKind) -> dt.date:
        """The last day on which it counts as current: its own horizon, but no more than `HORIZONS` allow."""
        return min(self.horizon, self.date + min(HORIZONS[kind], dt.date.max - self.date))
