"""Eight networks and the reports on them, for whatever shows reports to people: clean, intercepted, and in between.

Room: tests. Pure apart from randomness: the reports are assessed, not written by hand. To see all of them as text at
some widths, in a folder:

    PYTHONPATH=.:tests python tests/support/example_runs.py FOLDER [WIDTH...]
"""

from __future__ import annotations

import datetime as dt
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from conftest import World
from cryptography import x509
from cryptography.x509.oid import NameOID
from detector_testing import CA, PrivatePKI
from rich.console import Console

from detector import report as reports
from detector.judge import network
from detector.judge.assess import assess_all
from detector.judge.evidence import EndpointEvidence
from detector.model import Category, Detail, Endpoint, Observation, Outcome, PortalObservation, PortalOutcome, Report

if TYPE_CHECKING:
    from collections.abc import Iterable

NOW: Final = dt.datetime(2026, 11, 30, 9, 0, tzinfo=dt.UTC)
WIDTHS: Final = (60, 80, 120)
"""Columns: a phone's or a split terminal, the usual one, a wide one."""
EXAM: Final = ("exam.example.edu", Category.EXAM)
CAMPUS: Final = (
    EXAM,
    ("lms.example.org", Category.LMS),
    ("mail.example.net", Category.MAIL),
    ("search.example.com", Category.SEARCH),
    ("social.example.com", Category.SOCIAL),
)
KINDS: Final = (Category.SEARCH, Category.MAIL, Category.SOCIAL, Category.HEALTH, Category.OTHER, Category.CANARY)
MANY: Final = (
    *CAMPUS[:2],
    ("files.lms.example.org", Category.LMS),
    *((f"{kind}-{number}.example.com", kind) for kind in KINDS for number in range(1, 8)),
)[:40]
"""Forty hosts: an exam, two of a learning platform, and all the rest."""
BANKS: Final = tuple((f"bank-{number}.example.net", Category.BANK) for number in range(1, 4))
FORTINET: Final = x509.Name(
    [
        x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Fortinet"),
        x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Certificate Authority"),
        x509.NameAttribute(NameOID.COMMON_NAME, "FG100FTK00000000"),
    ]
)
PORTAL: Final = PortalObservation(outcome=PortalOutcome.CAPTIVE, url="http://portal.example/login")


def example_runs(world: World) -> dict[str, Report]:
    """The reports by name, in the order in which they are shown."""
    return {
        "clean": _report(_genuine(world, (*CAMPUS, *BANKS))),
        "intercepted-40": _report([*_by_two(world), *_genuine(world, BANKS)]),
        "one-of-five": _report(
            [*_genuine(world, [*CAMPUS[:1], *CAMPUS[2:]]), *_by(world, _campus(world), CAMPUS[1:2])]
        ),
        "possible": _report([*_by(world, _campus(world), CAMPUS[:1], canary=False), *_genuine(world, CAMPUS[1:])]),
        "no-network": _report(_silent(world, (*MANY, *BANKS), Outcome.DNS_FAILURE)),
        "portal": _report(_behind_a_portal(world)),
        "stale-pins": _report([*_stale(world, CAMPUS[:1]), *_genuine(world, CAMPUS[1:])]),
        "offline": _report(_by(world, _campus(world), CAMPUS[:3], canary=False)),
    }


def _report(evidence: Iterable[EndpointEvidence]) -> Report:
    """The report on a network with this evidence; its exam is named."""
    observed = list(evidence)
    context = observed[0].context
    return network.report(
        assess_all(observed), context, started=context.at, finished=context.at, vantage="library", version="0.1.0"
    )


def _campus(world: World) -> CA:
    return world.pki.private_ca("Campus Filter CA")


def _genuine(world: World, hosts: Iterable[tuple[str, Category]]) -> list[EndpointEvidence]:
    """Genuine certificates; that of an exam has a pinned key."""
    cases = []
    for host, category in hosts:
        issued = world.pki.issue([host])
        pins = (issued.spki_sha256,) if category is Category.EXAM else ()
        cases.append(world.case(host, issued, category=category, pins=pins))
    return cases


def _by(world: World, ca: CA, hosts: Iterable[tuple[str, Category]], *, canary: bool = True) -> list[EndpointEvidence]:
    """Certificates of this CA for hosts whose public identity is known, or for others."""
    return [
        world.case(host, (*ca.issue([host]).chain, ca.certificate), category=category, canary=canary)
        for host, category in hosts
    ]


def _by_two(world: World) -> list[EndpointEvidence]:
    """A product that intercepts most, and an unknown party that intercepts a few."""
    return [*_by(world, world.pki.private_ca(FORTINET), MANY[:34]), *_by(world, _campus(world), MANY[34:])]


def _silent(world: World, hosts: Iterable[tuple[str, Category]], outcome: Outcome) -> list[EndpointEvidence]:
    seen, context = Observation(outcome=outcome), world.context()
    return [EndpointEvidence(Endpoint(host=host, category=category), seen, context) for host, category in hosts]


def _behind_a_portal(world: World) -> list[EndpointEvidence]:
    """A sign-in page answers for every host, with a certificate of its own name."""
    issued, context = world.pki.issue(["portal.example"]), world.context(portal=PORTAL)
    return [world.case(host, issued, category=category, context=context) for host, category in CAMPUS]


def _stale(world: World, hosts: Iterable[tuple[str, Category]]) -> list[EndpointEvidence]:
    """Genuine certificates that are not those that a pin file has."""
    return [
        world.case(host, world.pki.issue([host]), category=category, pins=(b"\1" * 32,), source="campus.toml")
        for host, category in hosts
    ]


def as_text(report: Report, width: int, detail: Detail = Detail.SUMMARY) -> str:
    """The report as `detector check` prints it into a pipe of this width."""
    stream = io.StringIO()
    Console(file=stream, width=width, highlight=False, markup=False, emoji=False).print(reports.table(report, detail))
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def main(folder: str, *widths: str) -> None:
    """Write every report at every width, and as JSON."""
    for name, report in example_runs(World(PrivatePKI.create(NOW))).items():
        Path(folder, f"{name}.json").write_bytes(msgspec.json.format(report.to_json(), indent=2))
        for width in map(int, widths or WIDTHS):
            Path(folder, f"{name}-{width}.txt").write_text(as_text(report, width), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
