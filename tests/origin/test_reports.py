"""The server's rules in reports: each is explained there as its own table has it."""

from __future__ import annotations

from detector.judge.table import SERVER
from detector.model import Reason
from detector.origin import table


def test_reports_explain_what_the_servers_table_decides() -> None:
    """Every reason of the server's table is one of the model, with the same condition, and so the other way round."""
    explained = {rule.reason: rule.needs for rule in SERVER}
    assert {Reason(reason.value) for reason in table.Reason} == explained.keys()
    assert {rule.reason.value: rule.needs for rule in table.TABLE} == {
        reason.value: needs for reason, needs in explained.items() if reason is not Reason.NOTHING_SEEN
    }
