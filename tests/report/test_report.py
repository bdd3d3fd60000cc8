"""Reports as people and programs read them: the first two lines, coverage, hostile names, JSON Lines."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from detector import report
from detector.cli.common import as_table
from detector.judge import assess
from detector.model import Audience, Category, Outcome, Report
from detector.report import sentences

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import World

    from detector.judge.evidence import EndpointEvidence
    from detector.testing import PrivatePKI

    Reported = Callable[..., Report]

EXAM, LMS, SEARCH, BANK = "exam.example.edu", "lms.example.org", "search.example.com", "bank.example.net"


@pytest.fixture
def reported(world: World) -> Reported:
    """Judge cases and make their report."""

    def make(*cases: EndpointEvidence, **details: Any) -> Report:  # noqa: ANN401 - arguments of assess.report
        now = world.pki.now
        results = world.judge(*cases)
        context = cases[0].context if cases else world.context()
        return assess.report(results, context, started=now, finished=now, vantage="", version="0", **details)

    return make


def filtered(world: World, pki: PrivatePKI) -> list[EndpointEvidence]:
    """A network where a filter decrypts exams and search and leaves the bank alone."""
    ca = pki.private_ca("Campus Filter CA")
    return [
        world.case(EXAM, ca.issue([EXAM]), category=Category.EXAM),
        world.case(SEARCH, ca.issue([SEARCH]), category=Category.SEARCH),
        world.case(BANK, pki.issue([BANK]), category=Category.BANK),
        world.case(LMS, [], category=Category.LMS, outcome=Outcome.RESET, key_proved=False),
    ]


def test_clean_says_so_first(world: World, pki: PrivatePKI, reported: Reported) -> None:
    """A clean network says on how many endpoints and what that rests on."""
    made = reported(world.case(EXAM, pki.issue([EXAM])))
    assert sentences.headline(made) == "CLEAN: no sign of decryption on 1 of 1 endpoints (1 logged)."
    assert sentences.what_to_do(made).startswith("What to do: nothing")
    assert sentences.coverage(made) == ""


def test_middleware_says_who_where_and_what(world: World, pki: PrivatePKI, reported: Reported) -> None:
    """An intercepted network says by whom, on which hosts, what to do, and what is left alone."""
    made = reported(*filtered(world, pki))
    assert sentences.headline(made) == (
        "MIDDLEWARE (proven): TLS to 2 of 4 endpoints is decrypted by an unknown party (issuer: CN=Campus Filter CA) "
        "on exam.example.edu:443, search.example.com:443."
    )
    assert sentences.what_to_do(made) == (
        "What to do: Do not send exam data on this network. Only whoever runs the network can change this: ask its IT "
        "to exempt exam.example.edu, search.example.com."
    )
    assert sentences.coverage(made) == (
        "This network decrypts exams and search, leaves banking alone, gave no answer on courses."
    )
    assert sentences.advice_for(made, Audience.IT) == [
        "Exempt from TLS decryption: exam.example.edu, search.example.com"
    ]


def test_inconclusive_says_why(world: World, reported: Reported) -> None:
    """A network that gave no answer says how the connections ended."""
    made = reported(world.case(EXAM, [], outcome=Outcome.CONNECT_REFUSED, key_proved=False))
    assert sentences.headline(made) == "INCONCLUSIVE: this network could not be judged: connect-refused (1)."
    assert "Nothing answered" in sentences.what_to_do(made)
    assert sentences.headline(reported()).endswith("nothing was checked.")


@pytest.mark.parametrize("name", ["\x1b[31mred\x1b[0m", "line\nbreak", "[bold]markup[/bold]", "\u202egnp.exe", "<b>"])
def test_names_from_certificates_are_only_text(name: str, world: World, pki: PrivatePKI, reported: Reported) -> None:
    """Control characters are escaped, markup stays text, in the table as in JSON."""
    ca = pki.private_ca(f"Filter {name} CA")
    made = reported(*(world.case(host, ca.issue([host])) for host in (EXAM, LMS)))
    stream = io.StringIO()
    table = as_table(made, stream)
    assert all(character.isprintable() or character == "\n" for character in table)
    assert "Filter" in table
    if name.startswith("["):
        assert name in table.replace("\n", "")
    assert json.loads(report.json(made))["results"][0]["attribution"]["issuer"].isprintable()


def test_jsonl_is_the_results_one_by_one(world: World, pki: PrivatePKI, reported: Reported) -> None:
    """Each line is an entry of `results` as the JSON report has it."""
    made = reported(*filtered(world, pki))
    lines = [json.loads(line) for line in report.jsonl(made).splitlines()]
    assert lines == json.loads(report.json(made))["results"]


def test_table_names_every_endpoint(world: World, pki: PrivatePKI, reported: Reported) -> None:
    """Every endpoint has a row with its verdict and what it rests on."""
    table = as_table(reported(*filtered(world, pki)), io.StringIO())
    for words in ((EXAM, "proven"), (SEARCH, "proven"), (BANK, "logged"), (LMS, "reset")):
        assert any(all(word in line for word in words) for line in table.splitlines())
