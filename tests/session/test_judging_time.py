"""Assessing is under the deadline too: what peers send decides how long it takes, and a run has a budget for it."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
import time
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from detector_testing import Script, serve_script
from support.odd_keys import dsa_spki, rewritten

from detector import Detector, Report
from detector.model import Reason, Verdict
from detector.session.session import BUDGET_SHARE, CHAINS_EXCEEDING_LEAST, assessment_context, context_of, run_budget
from detector.session.settings import Expectations
from detector.trust.budget import CHAIN_SECONDS, RUN_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from detector_testing import PrivatePKI

    Settings = Callable[..., dict[str, Any]]

HOSTS = tuple(f"exam{number}.example{number}.edu" for number in range(24))
ISSUERS = 22
DSA_SHA256 = bytes.fromhex("0609608648016503040302")


def crowded(pki: PrivatePKI, *, bits: int) -> list[Script]:
    """A server for each host, whose leaf may have been signed by any of 22 CAs of one name, each with a DSA key."""
    scripts = []
    for number in range(len(HOSTS)):
        ca = pki.private_ca("Filter CA")
        issued = ca.issue(HOSTS)
        leaf = rewritten(issued.leaf, algorithm=DSA_SHA256)
        keys = (dsa_spki(bits, 256, ISSUERS * number + serial) for serial in range(ISSUERS))
        certificates = (leaf, *(rewritten(ca.certificate, key=key) for key in keys))
        scripts.append(dataclasses.replace(Script.genuine(issued), certificates=certificates))
    return scripts


@pytest.mark.parametrize("offline", [True, False])
async def test_a_run_has_one_budget(
    offline: bool,  # noqa: FBT001 - a parameter of a table of cases
    pki: PrivatePKI,
    settings_of: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Chains that exceed their own share count as not signed; what they left no time for is left open.

    A follow-up takes a second pass over the same evidence, and must not find the budget spent by the first.
    """
    reads = count()
    monkeypatch.setattr("detector.session.session.time.thread_time", lambda: 0.005 * next(reads))
    async with serve_script(crowded(pki, bits=2048)) as server:
        where = {(host, 443): server.address for host in HOSTS}
        settings = settings_of(resolve=where, offline=offline, control=None)
        report = await Detector(**settings).check(HOSTS)
    found = Counter(result.reason for result in report.results)
    exceeded = found.pop(Reason.PRIVATE_CHAIN)
    assert found == {Reason.BUDGET_SPENT: len(HOSTS) - exceeded}
    assert exceeded == CHAINS_EXCEEDING_LEAST
    assert report.verdict is Verdict.MIDDLEWARE


async def test_genuine_endpoints_are_never_kept_waiting(pki: PrivatePKI, settings_of: Settings) -> None:
    """However much others took, a usual chain is assessed in full."""
    async with (
        serve_script(crowded(pki, bits=2048)) as hostile,
        serve_script(Script.genuine(pki.issue(["lms.example.org"]))) as genuine,
    ):
        where = {(host, 443): hostile.address for host in HOSTS} | {("lms.example.org", 443): genuine.address}
        subject = Detector(**settings_of(resolve=where))
        report = await subject.check([*HOSTS, "lms.example.org"])
    assert [r.verdict for r in report.results if r.endpoint.host == "lms.example.org"] == ["clean"]


def test_how_much_a_run_has() -> None:
    """A part of what is kept back of the deadline, of which several chains may have their share; else the default."""
    default, short, shortest = run_budget(), run_budget(0.5), run_budget(0.01)
    assert (default.seconds_left, default.chain_seconds) == (RUN_SECONDS, CHAIN_SECONDS)
    assert short.seconds_left == 0.5 * BUDGET_SHARE
    for budget in (short, shortest):
        assert CHAINS_EXCEEDING_LEAST * budget.chain_seconds <= budget.seconds_left
    assert assessment_context(Expectations()).budget is not None


def test_every_target_of_a_scan_has_its_own(settings_of: Settings) -> None:
    """What goes on for hours is not one run: a hostile target costs itself."""
    subject = Detector(**settings_of())
    one, other = [context_of(subject) for _ in range(2)]
    assert one.budget is not None
    assert one.budget is not other.budget


@pytest.mark.serial
async def test_forged_chains_do_not_break_the_deadline(pki: PrivatePKI, tmp_path: Path) -> None:
    """24 chains of 22 issuers with DSA keys of 10000 bits: 23 seconds once, for a deadline of three."""
    written = pki.write(tmp_path)
    async with serve_script(crowded(pki, bits=10000)) as server:
        rules = [word for host in HOSTS for word in ("--connect-to", f"{host}:443:127.0.0.1:{server.port}")]
        trust = ("--roots", str(written.roots), "--ct-logs", str(written.ct_logs), "--proxy", "none", "--offline")
        begin = time.monotonic()
        command = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "detector", "check", *HOSTS, *rules, *trust),
            *("--deadline", "3", "--format", "json"),
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await command.communicate()
        took = time.monotonic() - begin
    report = Report.from_json(output)
    assert {result.verdict for result in report.results} == {Verdict.MIDDLEWARE}
    assert took < 2 * 3.0  # this machine may be busy; it takes less than one second where it is not
