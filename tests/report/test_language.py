"""A report in another language: its verdict and what to do, whole, and all else as it was."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.admissions import LADDER, PRODUCT, UNCONFIRMED, Case, result
from support.catalogues import CODES, PATTERNS
from support.example_runs import example_runs
from support.results import EXAM, clean, intercepted, possible, report

from detector import report as reports
from detector.cli.common import as_table
from detector.errors import InputError
from detector.model import (
    Audience,
    Category,
    Confidence,
    Detail,
    ManagedBy,
    Outcome,
    PortalObservation,
    PortalOutcome,
    Reason,
    Report,
    UnfollowedProxy,
)
from detector.report import sentences

if TYPE_CHECKING:
    from conftest import World

CASES: Final = tuple(
    dict.fromkeys(
        case._replace(outcome=outcome)
        for case in (*LADDER, *UNCONFIRMED)
        for outcome in (Outcome if case.reason is Reason.NO_CERTIFICATE else (case.outcome,))
    )
)
_HOSTS: Final = tuple(f"h{number}.example" for number in range(8))
_DRAWN: Final = st.lists(
    st.tuples(
        st.sampled_from(CASES),
        st.sampled_from([Category.EXAM, Category.SEARCH]),
        st.sampled_from(ManagedBy),
        st.booleans(),
        st.sampled_from([None, *UnfollowedProxy]),
    ),
    max_size=len(_HOSTS),
)


def made(drawn: list[tuple[Case, Category, ManagedBy, bool, Any]], portal: PortalOutcome | None) -> Report:
    """A report on these endpoints: who manages the interceptor, whether its product is known, and the proxy setting."""
    results = []
    for host, (case, category, manager, known, unfollowed) in zip(_HOSTS, drawn, strict=False):
        one = result(host, category, case)
        if one.attribution is not None:
            party = msgspec.structs.replace(one.attribution, managed_by=manager, product=PRODUCT if known else None)
            one = msgspec.structs.replace(one, attribution=party)
        observation = msgspec.structs.replace(one.observation, unfollowed_proxy=unfollowed)
        results.append(msgspec.structs.replace(one, observation=observation))
    seen = None if portal is None else PortalObservation(outcome=portal, url="http://portal.example/")
    return report(*results, portal=seen)


@pytest.mark.parametrize("code", CODES)
@given(_DRAWN, st.sampled_from([None, *PortalOutcome]))
def test_verdict_and_what_to_do_are_translated_whole(
    code: str, drawn: list[tuple[Case, Category, ManagedBy, bool, Any]], portal: PortalOutcome | None
) -> None:
    """Whatever was seen: both consist of the catalogue's sentences."""
    shown = made(drawn, portal)
    for text in (sentences.headline(shown, code), sentences.what_to_do(shown, code)):
        assert PATTERNS[code].fullmatch(text), text
    assert sentences.headline(shown, "en") == sentences.headline(shown)
    assert not sentences.basis(shown, code) or PATTERNS[code].fullmatch(sentences.basis(shown, code))


@pytest.mark.parametrize("outcome", Outcome)
def test_every_end_of_a_connection(outcome: Outcome) -> None:
    """Each outcome has its sentence, and advice."""
    case = next(case for case in CASES if case.reason is Reason.NO_CERTIFICATE)
    shown = report(result(EXAM, Category.EXAM, case._replace(outcome=outcome)))
    for code in CODES:
        assert PATTERNS[code].fullmatch(sentences.headline(shown, code))
        assert PATTERNS[code].fullmatch(sentences.what_to_do(shown, code))


def test_the_example_networks_in_german(world: World) -> None:
    """What a student reads of a filter, of a sign-in page and of no network."""
    runs = example_runs(world)
    assert sentences.headline(runs["clean"], "de").startswith("UNAUFFÄLLIG: kein Hinweis auf TLS-Überwachung bei den ")
    assert sentences.headline(runs["intercepted-40"], "de").startswith(
        "ENTSCHLÜSSELT (bewiesen: keine harmlose Erklärung passt): TLS wird bei "
    )
    assert sentences.what_to_do(runs["portal"], "de-AT").startswith("Was zu tun ist: Öffnen Sie einen Browser, melden")
    assert sentences.what_to_do(runs["no-network"], "de") == (
        "Was zu tun ist: Prüfen Sie, ob dieses Gerät online ist, und versuchen Sie es dann erneut."
    )


def test_what_is_possible_is_not_called_decrypted(world: World) -> None:
    """In German as in English, below `probable` no sentence says that anything is decrypted."""
    runs = example_runs(world)
    shown = [runs[name] for name in ("possible", "offline", "portal", "stale-pins")]
    assert {made.confidence for made in shown} == {Confidence.POSSIBLE}
    for made in (*shown, report(possible(EXAM))):
        said = f"{sentences.headline(made, 'de')} {sentences.what_to_do(made, 'de')}"
        assert "entschlüssel" not in said.lower()


def test_only_what_students_read_changes() -> None:
    """Tables and pages differ in the verdict and in what to do; machine formats and results stay English."""
    shown = report(intercepted(EXAM, Category.EXAM), clean("lms.example.org"))
    english, german = (as_table(shown, io.StringIO(), Detail.EVIDENCE, language) for language in ("en", "de"))
    for language, text in (("en", english), ("de", german)):
        flat = " ".join(text.split())
        assert sentences.headline(shown, language) in flat
        assert sentences.what_to_do(shown, language) in flat
    assert "Certificates" in german or "evidence" in german
    page = reports.html([shown], language="de")
    assert '<html lang="en"' in page
    assert '<p lang="de">Was zu tun ist: ' in page
    assert '<span lang="de">ENTSCHLÜSSELT (bewiesen' in page
    assert shown.results[0].advice_for[Audience.STUDENT] in reports.json(shown)


def test_an_unknown_language_is_an_error() -> None:
    """In every form, with the languages there are."""
    shown = report()
    for make in (sentences.headline, sentences.what_to_do):
        with pytest.raises(InputError, match=r"'xx' is not a language .*Choose one of en, "):
            make(shown, "xx")
