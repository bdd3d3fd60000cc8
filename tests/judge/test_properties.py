"""What the design promises of every world, tried on worlds made by chance (docs/decisions.md).

Each property is a function that says what is wrong with a world, or None. `DETECTOR_PROFILE` sets how many worlds are
tried. That the properties can fail is shown too: with one rule of the table broken on purpose, a world is found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample
from support.generated import (
    HOST,
    Company,
    Dates,
    Forgery,
    Known,
    Maker,
    Server,
    Signer,
    Timestamps,
    forgeries,
)
from support.profiles import examples

from detector.judge import table
from detector.judge.assess import Added, Assessor, assess_all
from detector.judge.evidence import EndpointEvidence
from detector.judge.wording import Confirmation, confirmation
from detector.model import Confidence, Endpoint, Reason, Result, Verdict
from detector.trust import acceptance
from detector.trust.classes import Classified
from detector.trust.revocations import Revocations

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from detector_testing import PrivatePKI

EXAMPLES: Final = examples(60)
"""Worlds tried for each property; 20,000 were tried when the table was written."""

TRIED: Final = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

RIVALS: Final = (
    Endpoint(host="www.google.com", operator="Google", roots=("GTS Root R1",), canary=True, runs_ca=True),
    Endpoint(host="www.amazon.com", operator="Amazon", roots=("Amazon Root CA 1",), canary=True, runs_ca=True),
)


@pytest.fixture(scope="module")
def maker(pki: PrivatePKI) -> Maker:
    return Maker(pki)


def result_of(evidence: EndpointEvidence, *others: EndpointEvidence) -> Result:
    """The result of the first endpoint among the others."""
    return assess_all([evidence, *others])[0]


def grade(result: Result) -> int:
    """How grave a result is: clean, inconclusive, possible, probable, proven."""
    if result.confidence is not None:
        return 2 + list(Confidence).index(result.confidence)
    return int(result.verdict is Verdict.INCONCLUSIVE)


POSSIBLE, PROBABLE = 2, 3


# (a) Nothing that the accused chain or its sender chooses helps it

PUBLIC: Final = (Known.STATED, Known.PINNED)


def choices_that_help(maker: Maker, forgery: Forgery, known: Known) -> str | None:
    """What an interceptor bought by its choices, compared with the plainest chain of the same signer."""
    plain = result_of(maker.intercepted(Forgery(signer=forgery.signer), known))
    chosen = maker.intercepted(forgery, known)
    result = result_of(chosen)
    if result.verdict is Verdict.CLEAN and not _is_logged_misissuance(forgery):
        return f"clean ({result.reason}) instead of {plain.verdict} {plain.confidence} ({plain.reason})"
    if grade(plain) >= PROBABLE > POSSIBLE > grade(result) and not _is_logged_misissuance(forgery):
        return f"{result.verdict} ({result.reason}) instead of {plain.confidence} ({plain.reason})"
    return None


def _is_logged_misissuance(forgery: Forgery) -> bool:
    """A public CA that signs for the interceptor and logs it: what nothing but a witness or a pin can tell."""
    return forgery.signer is Signer.MISISSUING and forgery.timestamps is Timestamps.VALID


@given(forgery=forgeries, known=st.sampled_from(PUBLIC))
@TRIED
def test_no_choice_of_the_interceptor_clears_it(maker: Maker, forgery: Forgery, known: Known) -> None:
    """Timestamps, dates, extensions, names, company and keys never buy `clean`, nor less than `possible`."""
    assert choices_that_help(maker, forgery, known) is None


def clears_without_basis(maker: Maker, forgery: Forgery, known: Known) -> str | None:
    """A forged chain that is clean or confirmed, whatever is known of the endpoint."""
    result = result_of(maker.intercepted(forgery, known))
    if _is_logged_misissuance(forgery):
        return None
    if result.verdict is Verdict.CLEAN:
        return f"clean ({result.reason})"
    worth = confirmation(result)
    return None if worth is Confirmation.UNCONFIRMED else f"{worth} ({result.reason})"


@given(forgery=forgeries, known=st.sampled_from(Known))
@TRIED
def test_nothing_forged_is_ever_confirmed(maker: Maker, forgery: Forgery, known: Known) -> None:
    """Whatever is known of the endpoint, the gate lets no forged chain through."""
    assert clears_without_basis(maker, forgery, known) is None


def is_not_proven_where_it_should(maker: Maker, forgery: Forgery, known: Known) -> str | None:
    """A private or added chain in the place of a public identity that is not proven."""
    result = result_of(maker.intercepted(forgery, known))
    return None if result.confidence is Confidence.PROVEN else f"{result.verdict} {result.confidence} ({result.reason})"


@given(
    forgery=st.builds(
        Forgery,
        signer=st.sampled_from([Signer.PRIVATE, Signer.ADDED, Signer.POLICY]),
        timestamps=st.sampled_from([Timestamps.NONE, Timestamps.JUNK, Timestamps.VALID, Timestamps.DAMAGED]),
        dates=st.sampled_from(Dates),
        company=st.sampled_from([Company.ISSUER, Company.NOTHING, Company.GENUINE, Company.BOTH]),
        fetchable=st.booleans(),
        own_key_for_every_leaf=st.booleans(),
    ),
    known=st.sampled_from(PUBLIC),
)
@TRIED
def test_an_interceptor_of_a_known_endpoint_is_proven(maker: Maker, forgery: Forgery, known: Known) -> None:
    """Where the genuine identity is known, a private CA in its place is proven, with its root installed or not."""
    without_issuer = forgery.signer is Signer.PRIVATE and forgery.company in {Company.NOTHING, Company.GENUINE}
    if without_issuer and forgery.timestamps is Timestamps.VALID:
        return  # as a public server's leaf whose intermediate was forgotten: possible
    assert is_not_proven_where_it_should(maker, forgery, known) is None


# Innocent worlds


def accuses_an_innocent(maker: Maker, servers: Sequence[Server], known: Known) -> str | None:
    """A genuine endpoint, alone or among others of its kind, that is `probable` or `proven`."""
    evidences = [maker.innocent(server, known, host=HOST, port=443 + number) for number, server in enumerate(servers)]
    for result, server in zip(assess_all(evidences), servers, strict=True):
        if grade(result) >= PROBABLE:
            return f"{server.value}: {result.confidence} ({result.reason})"
    return None


HONEST: Final = (
    Server.GENUINE,
    Server.ROTATED,
    Server.OTHER_CA,
    Server.NO_INTERMEDIATE,
    Server.EXPIRED,
    Server.WRONG_NAME,
    Server.PORTAL,
    Server.CERTIFIED_ANEW,
    Server.DECOMMISSIONED,
    Server.BEFORE_DISTRUST,
    Server.WITHIN_LIMITS,
)
"""What an endpoint with a public identity may present where nobody intercepts it."""


@given(
    world=st.one_of(
        st.tuples(st.lists(st.sampled_from(HONEST), min_size=1, max_size=4), st.sampled_from(Known)),
        st.tuples(
            st.lists(st.sampled_from(Server), min_size=1, max_size=4),
            st.sampled_from([Known.NOTHING, Known.DECLARED, Known.PINS_OF_UNKNOWN]),
        ),
    )
)
@TRIED
def test_no_innocent_is_accused(maker: Maker, world: tuple[list[Server], Known]) -> None:
    """Rotations, forgotten intermediates, self-signed servers, private PKIs and portals are at most possible."""
    servers, known = world
    assert accuses_an_innocent(maker, servers, known) is None


# (b) Company, addresses and excuses


def company_does_more(maker: Maker, forgery: Forgery, known: Known) -> str | None:
    """A canary that is intercepted elsewhere changes more than possible to probable."""
    canary = maker.evidence((maker.strangers_leaf(RIVALS[0].host), *maker.strangers[:1]), RIVALS[0], maker.context())
    evidence = maker.intercepted(forgery, known)
    alone, together = result_of(evidence), result_of(evidence, canary)
    if (alone.verdict, alone.confidence) == (together.verdict, together.confidence):
        return None
    raised = (alone.confidence, together.confidence) == (Confidence.POSSIBLE, Confidence.PROBABLE)
    persists = together.reason is Reason.UNREADABLE_PERSISTS
    if raised or persists:
        return None
    return f"{alone.verdict} {alone.confidence} became {together.verdict} {together.confidence} ({together.reason})"


@given(forgery=forgeries, known=st.sampled_from(Known))
@TRIED
def test_company_only_makes_possible_probable(maker: Maker, forgery: Forgery, known: Known) -> None:
    """An intercepted canary never clears, never proves, and accuses nobody who was not accused."""
    assert company_does_more(maker, forgery, known) is None


# (c) More observations


@given(
    first=forgeries,
    second=st.one_of(forgeries, st.sampled_from(Server)),
    known=st.sampled_from([Known.NOTHING, Known.STATED, Known.PINS_OF_UNKNOWN]),
)
@TRIED
def test_another_observation_never_makes_it_milder(
    maker: Maker, first: Forgery, second: Forgery | Server, known: Known
) -> None:
    """What another probe of the endpoint shows, forged or genuine, excuses nothing of what this one shows."""
    evidence = maker.intercepted(first, known)
    other = maker.intercepted(second, known) if isinstance(second, Forgery) else maker.innocent(second, known)
    both = EndpointEvidence(evidence.endpoint, evidence.observation, evidence.context, others=(other.observation,))
    assert grade(result_of(both)) >= grade(result_of(evidence))


# (g) Order


@given(data=st.data())
@TRIED
def test_the_order_of_endpoints_does_not_matter(maker: Maker, data: st.DataObject) -> None:
    """One after the other with amendments, in any order, or all at once: the same verdicts."""
    kinds = data.draw(st.lists(st.one_of(forgeries, st.sampled_from(Server)), min_size=2, max_size=5))
    known = [data.draw(st.sampled_from(Known)) for _ in kinds]
    evidences = [
        maker.intercepted(kind, one, port=443 + number)
        if isinstance(kind, Forgery)
        else maker.innocent(kind, one, port=443 + number)
        for number, (kind, one) in enumerate(zip(kinds, known, strict=True))
    ]
    evidences.append(
        maker.evidence((maker.strangers_leaf(RIVALS[0].host), *maker.strangers[:1]), RIVALS[0], maker.context())
    )
    expected = [_essence(result) for result in assess_all(evidences)]
    order = data.draw(st.permutations(range(len(evidences))))
    assessor: Assessor[int] = Assessor()
    latest: dict[int, Result] = {}
    for number in order:
        latest.update(assessor.add([Added(evidences[number], number)]))
    assert [_essence(latest[number]) for number in range(len(evidences))] == expected


def _essence(result: Result) -> tuple[Any, ...]:
    return result.verdict, result.confidence, result.assurance, result.reason


# The properties can fail


def never(_: object) -> bool:
    return False


def without(*reasons: Reason) -> tuple[table.Rule, ...]:
    """The accusing rules, some of which never fit."""
    return tuple(rule._replace(holds=never) if rule.reason in reasons else rule for rule in table.ACCUSING)


PRIVATE_RULES: Final = (Reason.IDENTITY_SUBSTITUTED, Reason.PRIVATE_CHAIN, Reason.ADDED_ROOT, Reason.PIN_MISMATCH)
LENIENT: Final = table.RULE_OF[Reason.LOGGED]._replace(holds=lambda facts: facts.name_right)

BREAKS: Final[dict[str, tuple[str, object, Callable[[Maker, Forgery, Known], str | None]]]] = {
    "substitution is not seen": ("ACCUSING", without(Reason.IDENTITY_SUBSTITUTED), is_not_proven_where_it_should),
    "what clears is read first": ("SETTLING", (*table.SETTLING, LENIENT), clears_without_basis),
    "private chains are not accused": ("ACCUSING", without(*PRIVATE_RULES), choices_that_help),
    "defects are not accused": ("ACCUSING", without(Reason.DEFECTIVE_CHAIN, Reason.PIN_MISMATCH), choices_that_help),
    "company proves": (
        "_company_grade",
        lambda facts: Confidence.PROVEN if facts.company else Confidence.POSSIBLE,
        company_does_more,
    ),
}


WORLDS_MAX: Final = 10_000
"""Worlds among which a broken rule is found. The first one ends the search; of 400, some searches had none."""


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_rule_is_found(name: str, maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one rule broken on purpose, a world contradicts a property."""
    attribute, value, violation = BREAKS[name]
    monkeypatch.setattr(table, attribute, value)
    monkeypatch.setattr(table, "read", table.read.__wrapped__)  # what is remembered was read from the whole table
    worlds = st.tuples(forgeries, st.sampled_from(PUBLIC if violation is not company_does_more else tuple(Known)))
    tried = settings(max_examples=WORLDS_MAX, deadline=None, database=None, phases=[Phase.generate])
    try:
        find(worlds, lambda world: violation(maker, *world) is not None, settings=tried)
    except NoSuchExample:
        pytest.fail(f"no world of {WORLDS_MAX} contradicts the property although {name}")


UNSEEN: Final[dict[str, tuple[object, str, object]]] = {
    "revocations are not read": (Revocations, "revoked_on", lambda *_: None),
    "limits of roots are not read": (acceptance, "_limit_refusals", lambda *_: ()),
    "timestamps may be later than a root's last day": (Classified, "accepted_until", None),
}
"""What lets a chain pass that browsers refuse."""


@pytest.mark.parametrize("name", UNSEEN)
def test_what_browsers_refuse_is_found_unseen(name: str, maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one of the things that browsers say of a CA or a root, a forged chain with timestamps is cleared."""
    refused = (Signer.REVOKED, Signer.REVOKED_KEY, Signer.DISTRUSTED, Signer.OUTSIDE)
    worlds = st.tuples(
        st.builds(
            Forgery,
            signer=st.sampled_from(refused),
            timestamps=st.just(Timestamps.VALID),
            dates=st.sampled_from(Dates),
        ),
        st.sampled_from(PUBLIC),
    )
    tried = settings(max_examples=WORLDS_MAX, deadline=None, database=None, phases=[Phase.generate])
    monkeypatch.setattr(*UNSEEN[name])
    try:
        find(worlds, lambda world: clears_without_basis(maker, *world) is not None, settings=tried)
    except NoSuchExample:
        pytest.fail(f"no world of {WORLDS_MAX} is cleared although {name}")
