"""`detector rules`: the decision table, or one rule of it.

Room: cli.
"""

from __future__ import annotations

from detector.model import Reason
from detector.report import rules as text

from . import common, options
from .streams import put


@options.command("detector rules", "detector rules identity-substituted")
def rules(
    *,
    reason: Reason | None = options.argument(required=False, type=options.Choice(Reason), metavar="[REASON]"),
) -> int:
    """Explain how verdicts are reached.

    Lists every rule of the decision table, or explains the one called REASON. REASON is what a report gives as the
    reason of a result.
    """
    for line in text.listing() if reason is None else text.explain(reason):
        put(line)
    return common.CLEAN
