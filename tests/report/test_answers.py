"""Answers for people: short, in words, never cut, at any width; on the eight example networks and on all rules."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

import msgspec
import pytest
from support.example_runs import FORTINET, MANY, WIDTHS, as_text, example_runs
from support.results import EXAM, LMS, SEARCH, clean, intercepted, report, result, silent, stale_pins

from detector.cli import common
from detector.judge import wording
from detector.judge.checks import MODULES
from detector.judge.table import ACCUSING, ELSE
from detector.model import (
    Alternative,
    Attribution,
    Audience,
    Category,
    Confidence,
    Detail,
    Hello,
    Locality,
    Outcome,
    PortalObservation,
    PortalOutcome,
    Reason,
    Report,
    Verdict,
)
from detector.report import sentences

if TYPE_CHECKING:
    from conftest import World

RUNS: Final = (
    "clean", "intercepted-40", "one-of-five", "possible", "no-network", "portal", "stale-pins", "offline",
)  # fmt: skip
CODES: Final = frozenset(
    code
    for code in (
        *Reason,
        *Outcome,
        *Alternative,
        *Locality,
        *Hello,
        *(module.ID for module in MODULES),
        *(outcome for module in MODULES for outcome in getattr(module, "Outcome", ())),
    )
    if "-" in code
)
"""What programs read: every code that is not an English word by itself."""


@pytest.fixture(scope="module")
def runs(world: World) -> dict[str, Report]:
    return example_runs(world)


def test_the_runs_are_what_they_are_called(runs: dict[str, Report]) -> None:
    """The examples come out as intended, assessed by the judge itself."""
    verdicts = {name: (str(made.verdict), made.confidence and str(made.confidence)) for name, made in runs.items()}
    assert verdicts == {
        "clean": ("clean", None),
        "intercepted-40": ("middleware", "proven"),
        "one-of-five": ("middleware", "proven"),
        "possible": ("middleware", "possible"),
        "no-network": ("inconclusive", None),
        "portal": ("middleware", "possible"),
        "stale-pins": ("middleware", "possible"),
        "offline": ("middleware", "possible"),
    }
    assert tuple(runs) == RUNS
    assert sum(one.confidence is Confidence.PROVEN for one in runs["intercepted-40"].results) == len(MANY) == 40


@pytest.mark.parametrize(("name", "most"), [("clean", 15), ("intercepted-40", 60), ("no-network", 6)])
def test_answers_are_short(name: str, most: int, runs: dict[str, Report]) -> None:
    """At 80 columns: 15 lines for 8 clean hosts, 60 for 40 intercepted ones, a few for 43 without a network."""
    assert len(as_text(runs[name], 80).splitlines()) <= most


@pytest.mark.parametrize("category", [Category.EXAM, Category.OTHER])
def test_forty_hosts_are_short_whatever_they_are(category: Category) -> None:
    """Also where every host has to be exempt, or all are of one kind."""
    made = report(*(intercepted(f"a-rather-long-name-{n}.example.org", category) for n in range(40)))
    assert len(as_text(made, 80).splitlines()) <= 60


def test_eight_clean_hosts_are_short_whatever_they_are() -> None:
    """Also where each is of another category."""
    made = report(*(clean(f"www.{category}.example.org", category) for category in list(Category)[:8]))
    assert len(as_text(made, 80).splitlines()) <= 15


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", RUNS)
def test_no_line_is_wider_than_asked_for(name: str, width: int, runs: dict[str, Report]) -> None:
    """Text fits the width."""
    for detail in Detail:
        assert max(map(len, as_text(runs[name], width, detail).splitlines())) <= width


@pytest.mark.parametrize("name", RUNS)
def test_every_host_that_is_not_clean_is_named(name: str, runs: dict[str, Report]) -> None:
    """Nothing that matters is only counted, but where one sentence is about all hosts."""
    text = as_text(runs[name], 80)
    hosts = [one.endpoint.host for one in runs[name].results if one.verdict is not Verdict.CLEAN]
    assert name == "no-network" or [host for host in hosts if host not in text] == []
    evidence = as_text(runs[name], 200, Detail.EVIDENCE)
    assert [r.endpoint.name for r in runs[name].results if r.endpoint.name not in evidence] == []


@pytest.mark.parametrize("name", RUNS)
def test_no_code_is_shown_to_people(name: str, runs: dict[str, Report]) -> None:
    """Codes of reasons, checks and outcomes are for programs; with the evidence they accompany the words."""
    words = set(as_text(runs[name], 200).replace("[", " ").replace("]", " ").replace(",", " ").split())
    assert words & CODES == set()
    evidence = as_text(runs[name], 200, Detail.EVIDENCE)
    assert all(f"[{one.reason}]" in evidence for one in runs[name].results)


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("hosts", [1, 2])
def test_no_code_for_any_ending(outcome: Outcome, hosts: int) -> None:
    """However connections end, for one host or for several."""
    made = report(*(silent(f"h{n}.example", outcome=outcome) for n in range(hosts)))
    assert words_of(made) & CODES == set()


@pytest.mark.parametrize("confidence", Confidence)
@pytest.mark.parametrize("reason", [rule.reason for rule in (*ACCUSING, *ELSE)])
def test_no_code_for_any_rule(reason: Reason, confidence: Confidence) -> None:
    """Whichever rule decided, with every other explanation and at every place."""
    accuses = reason in {rule.reason for rule in ACCUSING}
    sure = accuses and confidence is not Confidence.POSSIBLE
    made = report(
        *(
            result(
                f"{place}.example",
                Verdict.MIDDLEWARE if accuses else Verdict.INCONCLUSIVE,
                reason,
                confidence=confidence if accuses else None,
                alternatives=tuple(Alternative),
                attribution=Attribution(issuer="CN=Box", locality=place) if sure else None,
            )
            for place in Locality
        )
    )
    assert {word.strip("[](),.:;") for word in as_text(made, 200).split()} & CODES == set()


def words_of(made: Report) -> set[str]:
    return {word.strip("[](),.:;") for word in as_text(made, 200).split()}


def test_narrow_terminals_get_two_columns(runs: dict[str, Report]) -> None:
    """Below 80 columns the state stands before the hosts."""
    assert "✗ intercepted: lms.example.org" in as_text(runs["one-of-five"], 79)
    assert "✗ intercepted  lms.example.org" in as_text(runs["one-of-five"], 80)


def test_the_verdict_is_given_again_where_it_left_the_screen(runs: dict[str, Report]) -> None:
    """At the end of a long text, and only there."""
    for name in RUNS:
        first = sentences.headline(runs[name])
        assert " ".join(as_text(runs[name], 80).split()).count(first) == 1 + (name == "intercepted-40")


def test_each_interceptor_has_a_paragraph(runs: dict[str, Report]) -> None:
    """Who, on how many hosts, of which kinds, and where it is."""
    first, second = sentences.parties(runs["intercepted-40"])
    assert first.name == "Fortinet FortiGate (SSL/SSH deep inspection)"
    assert first.sentences == (
        "It intercepts 34 of 43 hosts: exams, courses, search, mail, social media, health and other hosts.",
        "It is in the network, not on this device.",
    )
    assert second.sentences == ("It intercepts 6 of 43 hosts: update sites and other hosts.",)
    assert FORTINET.rfc4514_string() not in as_text(runs["intercepted-40"], 120)


def test_a_probable_interceptor_comes_with_what_else_it_could_be() -> None:
    """Nothing that is only probable is stated as if it were certain."""
    one = intercepted(EXAM, confidence=Confidence.PROBABLE)
    made = report(msgspec.structs.replace(one, alternatives=(Alternative.PRIVATE_PKI,)))
    assert sentences.parties(made)[0].sentences[-1] == "It could also be a private CA of the server's own operator."
    mixed = report(intercepted(LMS), *made.results)
    assert sentences.parties(mixed)[0].sentences[-1] == (
        f"On {EXAM} it could also be a private CA of the server's own operator."
    )


def test_nobody_is_accused_with_the_certainty_of_another() -> None:
    """Who very probably intercepts one host is not named among those who are proven to intercept another."""
    other = intercepted(LMS, confidence=Confidence.PROBABLE, attribution=Attribution(issuer="CN=Other CA"))
    made = report(intercepted(EXAM), other, clean(SEARCH))
    assert "Other CA" not in sentences.headline(made)
    assert [party.sentences[0] for party in sentences.parties(made)] == [
        "It intercepts 1 of 3 hosts: other hosts.",
        "It very probably intercepts 1 of 3 hosts: other hosts.",
    ]
    same = report(intercepted(EXAM), intercepted(LMS, confidence=Confidence.PROBABLE), clean(SEARCH))
    assert sentences.parties(same)[0].sentences[0] == (
        "It intercepts 2 of 3 hosts (1 of them very probably): other hosts."
    )


@pytest.mark.parametrize("language", ["en", "de"])
def test_one_host_is_called_by_its_name(language: str) -> None:
    """Nothing is counted where there is one: neither pins nor the hosts of an interceptor."""
    stale = report(stale_pins(EXAM), clean(LMS))
    assert EXAM in sentences.headline(stale, language)
    assert " 1 " not in sentences.headline(stale, language)
    alone = report(intercepted(EXAM, confidence=Confidence.PROBABLE))
    assert sentences.parties(alone)[0].sentences[0] == f"It very probably intercepts {EXAM}."


@pytest.mark.parametrize("outcome", [Outcome.TLS_ALERT, Outcome.NOT_TLS])
def test_what_answered_was_reached(outcome: Outcome) -> None:
    """Where something answered, no host is said to be out of reach."""
    for others in ([], [silent(LMS, outcome=Outcome.DNS_FAILURE)]):
        said = sentences.headline(report(silent(EXAM, outcome=outcome), *others))
        assert "could" in said
        assert "reached" not in said


def test_hosts_that_failed_for_different_reasons_are_listed() -> None:
    """Each with its reason; where there is one reason for all, the first sentence is enough."""
    both = as_text(report(silent(EXAM), silent(LMS, outcome=Outcome.DNS_FAILURE)), 80)
    assert f"{EXAM}\n  Connections were cut off.\n{LMS}\n  Names could not be resolved.\n" in both
    assert "\n  Connections were cut off." not in as_text(report(silent(EXAM), silent(LMS)), 80)


class TestWhatToDo:
    """The student's next step fits what was found."""

    def test_in_each_example(self, runs: dict[str, Report]) -> None:
        """One or two sentences, literally."""
        said = {name: sentences.what_to_do(made).removeprefix("What to do: ") for name, made in runs.items()}
        exempt = "Only the network's operator can change this: ask its IT to exempt {} from TLS decryption."
        elsewhere = "Try again from another network. If only this network has the problem, tell its IT."
        assert said == {
            "clean": "nothing. This covers only these hosts, this route and this moment.",
            "intercepted-40": "Do not send exam data on this network. "
            + exempt.format("exam.example.edu, lms.example.org, files.lms.example.org"),
            "one-of-five": "Do not send exam data on this network. " + exempt.format("lms.example.org"),
            "possible": elsewhere,
            "no-network": "Check that this device is online, then try again.",
            "portal": "Open a browser and sign in to this network, then try again.",
            "stale-pins": "Tell the people who made the pin file campus.toml that it is probably out of date; the "
            "network's IT cannot change that.",
            "offline": elsewhere,
        }

    def test_an_exam_that_is_left_alone(self) -> None:
        """Where only other sites are decrypted, the exam's host is called left alone, and need not be exempt."""
        made = report(clean(EXAM, Category.EXAM), intercepted(SEARCH, Category.SEARCH))
        assert sentences.what_to_do(made) == (
            f"What to do: Left alone: {EXAM}. Do not send exam data to any other site on this network."
        )
        assert "xempt" not in sentences.what_to_do(made)

    def test_only_other_sites_were_checked(self) -> None:
        """Where no exam was checked, its host is to be checked by name."""
        made = report(intercepted(SEARCH, Category.SEARCH), clean(LMS))
        assert "Do not send exam data on this network." in sentences.what_to_do(made)
        assert "check the exam's own host by its name" in sentences.what_to_do(made)

    def test_a_named_host_counts(self) -> None:
        """A host that was asked for by name has to be exempt, whatever it is."""
        one = msgspec.structs.replace(intercepted(SEARCH, Category.SEARCH), named=True)
        assert f"exempt {SEARCH}" in sentences.what_to_do(report(one))

    def test_an_attack_comes_before_everything(self) -> None:
        """Where something looks like an attack, no other step comes first, not even signing in."""
        attack = result(
            LMS,
            Verdict.MIDDLEWARE,
            Reason.FORGED_ISSUER,
            confidence=Confidence.PROBABLE,
            attribution=Attribution(issuer="CN=Public CA"),
        )
        portal = PortalObservation(outcome=PortalOutcome.CAPTIVE, url="http://portal.example/")
        made = report(intercepted(EXAM, Category.EXAM), attack, portal=portal)
        assert sentences.what_to_do(made).startswith("What to do: Do not use this network for the exam")

    def test_one_misspelled_host(self) -> None:
        """Of one host that cannot be resolved the name is in doubt; of several the network."""
        one, two = silent(EXAM, outcome=Outcome.DNS_FAILURE), silent(LMS, outcome=Outcome.CONNECT_TIMEOUT)
        assert f"Check {EXAM} for typing errors" in sentences.what_to_do(report(one))
        assert sentences.what_to_do(report(one, two)) == "What to do: Check that this device is online, then try again."
        named = report(one, clean(LMS), named=(f"{EXAM}:443",))
        assert f"Check {EXAM} for typing errors" in sentences.what_to_do(named)

    def test_what_a_proxy_wants_is_not_called_offline(self) -> None:
        """Where a proxy refuses everything, that is said instead."""
        made = report(*(silent(host, outcome=Outcome.PROXY_AUTH_REQUIRED) for host in (EXAM, LMS)))
        assert "requires a user name and password" in sentences.headline(made)
        assert "add them to the proxy URL" in sentences.what_to_do(made)


LONG_HOST: Final = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 57])
"""The longest name there is (RFC 1035 section 2.3.4): 253 characters with its dots, without the root's."""


@pytest.mark.parametrize("width", [40, *WIDTHS])
@pytest.mark.parametrize("host", [LONG_HOST, "xn--bcher-kva.example", "2001:db8:0:1:1:1:1:1"])
def test_long_names_are_wrapped_and_never_cut(host: str, width: int) -> None:
    """Every character of a host is there, on lines that fit."""
    made = report(intercepted(host, Category.EXAM), silent(host))
    text = as_text(made, width)
    assert host in "".join(text.split()).replace("|", "")
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("columns", ["60", "80", "120"])
def test_piped_text_follows_columns(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not shown on a terminal is as wide as COLUMNS says, and 80 columns without it."""
    made = report(*(intercepted(f"host-{n}.example", Category.EXAM) for n in range(9)))
    monkeypatch.setenv("COLUMNS", columns)
    assert common.as_table(made, io.StringIO()) == as_text(made, int(columns))


@pytest.mark.parametrize("columns", ["", "0", "-5", "1", "many", "1000000000"])
def test_no_value_of_columns_breaks_the_text(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the variable holds, every host is there."""
    monkeypatch.setenv("COLUMNS", columns)
    assert EXAM in common.as_table(report(intercepted(EXAM)), io.StringIO())


def test_every_ending_and_explanation_has_words() -> None:
    """No outcome and no alternative is without words of its own."""
    assert len({wording.ended(outcome) for outcome in Outcome}) == len(Outcome)
    others = wording.alternatives(
        result(EXAM, Verdict.MIDDLEWARE, Reason.PRIVATE_CHAIN, alternatives=tuple(Alternative))
    )
    assert len(set(others)) == len(Alternative)


def test_advice_for_it_lists_only_what_has_to_be_exempt(runs: dict[str, Report]) -> None:
    """Of forty intercepted hosts three are listed for exemption: an exam and two of a learning platform."""
    exempt, decision = sentences.advice_for(runs["intercepted-40"], Audience.IT)
    assert exempt.endswith("Hosts: exam.example.edu, lms.example.org, files.lms.example.org.")
    assert "your decision" in decision
