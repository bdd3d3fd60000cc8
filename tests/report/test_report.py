"""Reports as people and programs read them: the first two lines, coverage, hostile names, JSON Lines."""

from __future__ import annotations

import html
import io
import json
from typing import TYPE_CHECKING

import msgspec
import pytest
from support.results import (
    BANK,
    EXAM,
    LMS,
    SEARCH,
    clean,
    found,
    intercepted,
    possible,
    report,
    result,
    silent,
    stale_pins,
)

from detector import report as reports
from detector.cli.common import as_table
from detector.judge import wording
from detector.judge.advice import OPERATORS_DECISION, SIGN_IN_FIRST
from detector.judge.checks import captive_portal
from detector.model import (
    Attribution,
    Audience,
    Category,
    Confidence,
    Detail,
    Hello,
    Outcome,
    PortalObservation,
    PortalOutcome,
    Reason,
    Report,
    UnfollowedProxy,
    Verdict,
)
from detector.report import programs, sentences

if TYPE_CHECKING:
    from conftest import World


def filtered() -> Report:
    """A network where a filter intercepts exams and search and leaves the bank alone."""
    return report(
        intercepted(EXAM, Category.EXAM),
        intercepted(SEARCH, Category.SEARCH),
        clean(BANK, Category.BANK),
        silent(LMS, Category.LMS),
    )


def test_clean_says_so_first() -> None:
    """A clean network says on how many endpoints and what that rests on."""
    made = report(clean(EXAM), silent(LMS))
    assert sentences.headline(made) == ("CLEAN: no sign of TLS interception on 1 of 2 hosts; 1 could not be assessed.")
    assert sentences.what_to_do(made).startswith("What to do: nothing")
    assert not sentences.coverage(made)


@pytest.mark.parametrize("reason", UnfollowedProxy)
def test_a_route_that_browsers_do_not_take(reason: UnfollowedProxy) -> None:
    """Where the machine's proxy setting was not followed, nothing is called clean, and what to do comes first."""
    one = clean(EXAM)
    one = msgspec.structs.replace(one, observation=msgspec.structs.replace(one.observation, unfollowed_proxy=reason))
    made = report(one, silent(LMS))
    assert (made.verdict, programs.nagios_status(made, Confidence.PROBABLE)) == ("inconclusive", programs.UNKNOWN)
    assert sentences.headline(made) == (
        "INCONCLUSIVE: no sign of TLS interception on 1 of 2 hosts, but not by the route that browsers take."
    )
    assert sentences.what_to_do(made).startswith(f"What to do: {wording.set_route(reason)}")
    assert sentences.coverage(made).endswith(wording.other_route(reason))
    assert wording.other_route(reason) in html.unescape(reports.html([made]))


def test_hellos_are_named_where_they_are_not_a_browsers() -> None:
    """A result for OpenSSL's hello says so."""
    one = clean(EXAM)
    other = msgspec.structs.replace(one, observation=msgspec.structs.replace(one.observation, hello=Hello.OPENSSL))
    assert sentences.hellos(report(one)) == ""
    assert sentences.hellos(report(other, clean(LMS))) == "Presented to OpenSSL's hello (1), Chrome's hello (1)."


def test_middleware_says_who_where_and_what() -> None:
    """An intercepted network says by whom, on which hosts, what to do, and what is left alone."""
    made = filtered()
    assert sentences.headline(made) == (
        "INTERCEPTED (proven: no innocent reason fits): TLS is intercepted on 2 of 4 hosts, by an unknown party "
        "(issuer: CN=Campus Filter CA)."
    )
    assert sentences.what_to_do(made) == (
        "What to do: Do not send exam data on this network. Only the network's operator can change this: ask its IT to "
        "exempt exam.example.edu from TLS decryption."
    )
    assert sentences.coverage(made) == (
        "By category: exams and search intercepted; banking left alone; courses without an answer."
    )
    assert sentences.advice_for(made, Audience.IT) == [
        "Exempt from TLS decryption: exam.example.edu.",
        OPERATORS_DECISION,
    ]


def test_each_endpoint_is_called_what_it_is() -> None:
    """The gravest endpoint names the network, and the words for the others are their own."""
    other = Attribution(issuer="CN=Other CA")
    made = report(
        intercepted(EXAM),
        intercepted(LMS, confidence=Confidence.PROBABLE, attribution=other),
        possible(SEARCH),
        stale_pins(BANK),
    )
    assert sentences.headline(made) == (
        "INTERCEPTED (proven: no innocent reason fits): TLS is intercepted on 1 of 4 hosts, by an unknown party "
        "(issuer: CN=Campus Filter CA). 1 more: very probably intercepted. "
        f"1 more: uncertain. The pins of {BANK} (the keys expected of it) are probably out of date."
    )


def test_stale_pins_are_called_stale_pins() -> None:
    """A certificate that clients accept and that is not pinned is no interception in any first line."""
    made = report(stale_pins(EXAM), clean(LMS))
    assert sentences.headline(made) == (
        f"UNCERTAIN (possible): The pins of {EXAM} (the keys expected of it) are probably out of date."
    )
    assert "The pins are probably stale" in as_table(made, io.StringIO())
    assert "the network's IT cannot change that" in sentences.what_to_do(made)
    assert programs.nagios(made, Confidence.PROBABLE).startswith(
        f"TLS WARNING - UNCERTAIN (possible): The pins of {EXAM}"
    )


def test_a_portal_comes_before_all_other_advice() -> None:
    """Where a sign-in page answers, to sign in is the first advice, however grave the rest is."""
    sign = found(captive_portal.Outcome.CONTROL_REQUEST)
    misnamed = result(
        LMS,
        Verdict.MIDDLEWARE,
        Reason.WRONG_NAME,
        confidence=Confidence.POSSIBLE,
        findings=(sign,),
        advice=SIGN_IN_FIRST,
    )
    portal = PortalObservation(outcome=PortalOutcome.CAPTIVE, url="http://portal.example/")
    for made in (
        report(intercepted(EXAM), misnamed),
        report(misnamed),
        report(silent(EXAM), portal=portal),
        report(intercepted(EXAM), portal=portal),
    ):
        reported = sentences.what_to_do(made)
        assert reported.startswith(f"What to do: {SIGN_IN_FIRST}")
        assert reported.count(SIGN_IN_FIRST) == 1
    assert "Do not send exam data" in sentences.what_to_do(report(intercepted(EXAM), misnamed))


def test_inconclusive_says_why() -> None:
    """A network that gave no answer says how the connections ended."""
    made = report(silent(EXAM, outcome=Outcome.CONNECT_REFUSED))
    assert sentences.headline(made) == "INCONCLUSIVE: exam.example.edu was not reached. Connections were refused."
    assert "check the host and port" in sentences.what_to_do(made)
    assert sentences.headline(report()).endswith("nothing was checked.")
    partly = report(silent(EXAM, Category.EXAM), clean(LMS))
    assert sentences.headline(partly) == (
        "INCONCLUSIVE: 1 of 2 hosts could not be assessed; the others show no sign of TLS interception."
    )
    assert "Connections were cut off." in as_table(partly, io.StringIO())


@pytest.mark.parametrize("name", ["\x1b[31mred\x1b[0m", "line\nbreak", "[bold]markup[/bold]", "\u202egnp.exe", "<b>"])
def test_names_from_certificates_are_only_text(name: str, world: World) -> None:
    """Control characters are escaped, markup stays text, in the table as in JSON."""
    ca = world.pki.private_ca(f"Filter {name} CA")
    stated = tuple(world.roots.labels)
    made = report(*world.judge(*(world.case(host, ca.issue([host]), roots=stated) for host in (EXAM, LMS))))
    stream = io.StringIO()
    table = as_table(made, stream)
    assert all(character.isprintable() or character == "\n" for character in table)
    assert "Filter" in table
    if name.startswith("["):
        assert name in table.replace("\n", "")
    assert json.loads(reports.json(made))["results"][0]["attribution"]["issuer"].isprintable()


def test_jsonl_is_the_results_one_by_one() -> None:
    """Each line is an entry of `results` as the JSON report has it."""
    made = filtered()
    lines = [json.loads(line) for line in reports.jsonl(made).splitlines()]
    assert lines == json.loads(reports.json(made))["results"]


def test_table_names_every_host_with_its_state() -> None:
    """Every category has a row with its hosts and their state; the evidence and its codes come on request."""
    table = as_table(filtered(), io.StringIO())
    states = {EXAM: "intercepted", SEARCH: "intercepted", BANK: "clean", LMS: "no answer"}
    for words in states.items():
        assert any(all(word in line for word in words) for line in table.splitlines())
    assert "identity-substituted" not in table
    evidence = " ".join(as_table(filtered(), io.StringIO(), Detail.EVIDENCE).split())
    assert "a different certificate was presented for its name" in evidence
    assert "[identity-substituted]" in evidence
    assert "row" not in table


def test_a_run_without_results_has_a_headline() -> None:
    """The head of a scan, as the history keeps it, says how sure it is and no more."""
    bare = msgspec.structs.replace(filtered(), results=(), interceptors=())
    assert sentences.headline(bare) == (
        "INTERCEPTED (proven: no innocent reason fits): TLS on this network is intercepted."
    )
