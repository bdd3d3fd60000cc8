"""`detector demo`: a clean network, then an intercepted one, both on loopback, assessed by the real pipeline.

Room: cli. The servers come from the test kit, `detector_testing`, which is a distribution of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import sys
from typing import TYPE_CHECKING, Final

import click

from detector.judge.evidence import no_machine_roots
from detector.knowledge import ct_logs
from detector.model import Category, Endpoint, Verdict
from detector.pins import PinSet
from detector.session.seams import Seams
from detector.session.session import Detector
from detector.trust.roots import from_der

from . import common, options
from .stderr import say
from .streams import put

if TYPE_CHECKING:
    from detector_testing import PrivatePKI

    from detector.model import Detail, Report
    from detector.trust.roots import Roots

EXAM, LMS, SEARCH, BANK = "exam.example.edu", "lms.example.org", "search.example.com", "bank.example.net"
HOSTS: Final = {EXAM: Category.EXAM, LMS: Category.LMS, SEARCH: Category.SEARCH, BANK: Category.BANK}
DEADLINE: Final = 5.0
"""Seconds for each of the two checks; on loopback they take a few hundredths."""


@options.command("detector demo", "detector demo -q")
def demo(*, detail: Detail = options.detail) -> int:
    """Show a clean and an intercepted network, on loopback.

    In the second one a school filter intercepts all but the bank. Nothing leaves this machine.
    """
    if importlib.util.find_spec("detector_testing") is None:
        raise click.ClickException("The demo needs the test kit. Run it from a clone: uv run detector demo")
    clean, intercepted = asyncio.run(_demonstrate())
    _show("1. A clean network: nothing between this machine and the servers intercepts.", clean, detail)
    _show("2. The same servers behind a filter that intercepts exams, courses and search.", intercepted, detail)
    if clean.verdict is not Verdict.CLEAN or intercepted.verdict is not Verdict.MIDDLEWARE:
        say("The demo did not come out as expected: please report this.")
        return common.INCONCLUSIVE
    put("Both networks ran on loopback. Try your own: detector check")
    return common.CLEAN


def _show(title: str, report: Report, detail: Detail) -> None:
    put(f"{title}\n")
    put(common.as_table(report, sys.stdout, detail))


async def _demonstrate() -> tuple[Report, Report]:
    from detector_testing import PrivatePKI, serve_middlebox, serve_origin  # noqa: PLC0415 - may not be installed

    pki = PrivatePKI.create()
    roots = from_der([pki.root_a.certificate, pki.root_b.certificate], name="demo roots")
    async with contextlib.AsyncExitStack() as stack:
        upstream: dict[tuple[str, int], tuple[str, int]] = {}
        endpoints = []
        for host, category in HOSTS.items():
            issued = pki.issue([host])
            origin = await stack.enter_async_context(serve_origin(issued))
            upstream[host, 443] = origin.address
            pinned = (issued.spki_sha256,) if category is Category.EXAM else ()
            stated = tuple(sorted(roots.labels))  # pin files state which public roots an operator uses
            endpoints.append(Endpoint(host=host, category=category, pins=pinned, roots=stated))
        pins = PinSet(name="demo", endpoints=tuple(endpoints))
        clean = await _check(pki, roots, pins, upstream, "none", "clean network")
        filter_ca = pki.private_ca("Riverside School District Web Filter CA", one_leaf_key=True)
        box = await stack.enter_async_context(
            serve_middlebox(filter_ca, upstream=upstream, only_hosts={EXAM, LMS, SEARCH})
        )
        return clean, await _check(pki, roots, pins, {}, f"http://127.0.0.1:{box.port}", "behind the filter")


async def _check(  # noqa: PLR0913, PLR0917 - the two checks differ in half of these
    pki: PrivatePKI,
    roots: Roots,
    pins: PinSet,
    resolve: dict[tuple[str, int], tuple[str, int]],
    proxy: str,
    vantage: str,
) -> Report:
    async with Detector(
        pins=pins,
        roots=roots,
        logs=ct_logs.parse(pki.ct_log_list_json(), name="demo logs"),
        proxy=proxy,
        resolve=resolve,
        vantage=vantage,
        seams=Seams(machine_roots=no_machine_roots),
        offline=True,
    ) as detector:
        return await detector.check(deadline=DEADLINE)
