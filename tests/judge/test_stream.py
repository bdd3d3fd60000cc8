"""Endpoints as they come: whatever their order, a stream ends with the results that all of them have together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from detector_testing import generate_key
from hypothesis import given, settings
from hypothesis import strategies as st
from support.odd_keys import GOST_2012, rewritten
from support.profiles import examples
from support.worlds import DAY, EXAM, LMS, SEARCH, below, said, sent

from detector.judge import assess
from detector.judge.assess import Added, Assessor, assess_all
from detector.judge.network_evidence import Shared
from detector.model import Hello, Outcome, RecordedIdentity, Result, Route

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conftest import World

    from detector.judge.evidence import EndpointEvidence

KINDS: Final = 24
"""Endpoints in the pool."""
PUBLIC: Final[dict[str, Any]] = {"route": Route.DIRECT, "address": "93.184.216.34:443"}
PRIVATE: Final[dict[str, Any]] = {"route": Route.DIRECT, "address": "10.1.2.3:443"}
PROXIED: Final[dict[str, Any]] = {"route": Route.HTTP_CONNECT}
GONE: Final[dict[str, Any]] = {"key_proved": False, "outcome": Outcome.RESET}


@pytest.fixture(scope="module")
def pool(world: World) -> list[EndpointEvidence]:
    """Endpoints that mean something for each other: by signer, key, root, missing issuer, clock, canary or route."""
    pki, ca, root = world.pki, world.pki.private_ca("Filter CA"), world.pki.private_ca("Filter Root")
    one, other = below(root, "Issuing CA 1"), below(root, "Issuing CA 2")
    box, key = below(pki.root_b, "Other Customer CA"), generate_key("ec")
    google: dict[str, Any] = {"canary": True, "runs_ca": True, "operator": "Google"}
    amazon: dict[str, Any] = {"canary": True, "runs_ca": True, "operator": "Amazon"}
    learned: dict[str, Any] = {"pins": (b"\1" * 32,), "identity": RecordedIdentity.PUBLIC}
    old: dict[str, Any] = {"not_before": pki.now - 99 * DAY, "not_after": pki.now - 9 * DAY}
    declared: dict[str, Any] = {"private_roots": (ca.certificate,)}
    added: dict[str, Any] = {"machine": (root.certificate,)}
    genuine, page = pki.issue([SEARCH]), pki.self_signed(["page.example.net"])
    before = world.context(seen_before=frozenset({"seen.example.com:443"}))
    pool = [
        world.case(EXAM, pki.issue([EXAM]), seen=PUBLIC),
        world.case(LMS, sent(ca, LMS), seen=PUBLIC),
        world.case("www.example.edu", sent(ca, "www.example.edu"), seen=PUBLIC),
        world.case("pinned.example.com", sent(ca, "pinned.example.com"), seen=PRIVATE, **learned),
        world.case("seen.example.com", pki.self_signed(["seen.example.com"]), seen=PUBLIC, context=before),
        world.case("canary.example.net", sent(ca, "canary.example.net"), seen=PUBLIC, canary=True),
        world.case("campus.example.net", sent(ca, "campus.example.net"), **declared),
        world.case(
            SEARCH,
            genuine,
            seen=PUBLIC,
            others=[world.observed(sent(ca, SEARCH), **PROXIED)],
            **declared,
        ),
        world.case("proxied.example.net", sent(ca, "proxied.example.net"), seen=PROXIED, canary=True),
        world.case("www.google.com", pki.issue(["www.google.com"], key=key), seen=PUBLIC, **google),
        world.case("www.amazon.com", pki.issue(["www.amazon.com"], key=key), seen=PUBLIC, **amazon),
        world.case("leaf.example.edu", pki.private_ca("Any CA").issue(["leaf.example.edu"], key=key), seen=PUBLIC),
        world.case("root.example.org", one.issue(["root.example.org"]), seen=PUBLIC, **added),
        world.case("canary.example.org", other.issue(["canary.example.org"]), seen=PUBLIC, canary=True, **added),
        world.case("box.example.edu", box.issue(["box.example.edu"]), seen=PUBLIC),
        world.case("box.example.org", box.issue(["box.example.org"]), seen=PUBLIC),
        world.case("alone.example.edu", pki.issue(["alone.example.edu"]).chain[:1], seen=PUBLIC),
        world.case("alone.example.org", pki.issue(["alone.example.org"]).chain[:1], seen=PUBLIC),
        world.case("odd.example.edu", _unreadable(world, "odd.example.edu"), seen=PUBLIC),
        world.case("old.example.edu", pki.issue(["old.example.edu"], **old), seen=PUBLIC),
        world.case("old.example.org", pki.issue(["old.example.org"], **old), seen=PUBLIC),
        world.case(
            "silent.example.edu",
            [],
            seen={**PUBLIC, **GONE},
            others=[world.observed(sent(ca, "silent.example.edu"), **PUBLIC, hello=Hello.OPENSSL)],
        ),
        world.case("page.example.edu", page, seen=PUBLIC),
        world.case("page.example.org", page, seen=PUBLIC),
    ]
    assert len(pool) == KINDS
    return pool


def _unreadable(world: World, host: str) -> Sequence[bytes]:
    issued = world.pki.issue([host])
    return (rewritten(issued.leaf, algorithm=GOST_2012), *issued.chain[1:])


def essence(result: Result) -> tuple[object, ...]:
    """What a reader acts on. Findings name further endpoints as they come, up to a bound."""
    return (*said(result), result.alternatives, result.attribution, result.advice_for, result.observation)


def stream(endpoints: Sequence[EndpointEvidence], size: int = 1) -> tuple[dict[str, Result], list[Result]]:
    """The last result of each endpoint in batches of that size, and everything that was given."""
    assessor: Assessor[str] = Assessor()
    added = [Added(one, one.endpoint.name) for one in endpoints]
    given = [pair for at in range(0, len(added), size) for pair in assessor.add(added[at : at + size])]
    return dict(given), [result for _, result in given]


@settings(max_examples=examples(60))
@given(order=st.lists(st.sampled_from(range(KINDS)), unique=True), size=st.integers(1, 8))
def test_any_order_ends_with_the_results_of_all_together(
    pool: list[EndpointEvidence], order: list[int], size: int
) -> None:
    """After amendment every endpoint has the result that it has among all of them, whatever the batches."""
    endpoints = [pool[number] for number in order]
    last, _ = stream(endpoints, size)
    together = {result.endpoint.name: result for result in assess_all(endpoints)}
    assert {name: essence(r) for name, r in last.items()} == {name: essence(r) for name, r in together.items()}


@settings(max_examples=examples(30))
@given(order=st.permutations(range(KINDS)))
def test_the_whole_pool_in_any_order(pool: list[EndpointEvidence], order: list[int]) -> None:
    """The whole pool, where most is amended, and no later evidence makes a result milder."""
    last, given_results = stream([pool[number] for number in order])
    together = {result.endpoint.name: result for result in assess_all(pool)}
    assert {name: essence(r) for name, r in last.items()} == {name: essence(r) for name, r in together.items()}
    first: set[str] = set()
    for result in given_results:
        assert result.amends is (result.endpoint.name in first)
        first.add(result.endpoint.name)


def test_most_of_the_pool_depends_on_the_others(pool: list[EndpointEvidence]) -> None:
    """The orders above would say nothing if endpoints came out alone as they do together."""
    alone = {one.endpoint.name: said(assess_all([one])[0]) for one in pool}
    together = {result.endpoint.name: said(result) for result in assess_all(pool)}
    assert {name for name in alone if alone[name] == together[name]} == {
        f"{host}:443"
        for host in (
            EXAM,
            "canary.example.net",
            "canary.example.org",
            "proxied.example.net",
            "leaf.example.edu",
            "old.example.edu",
            "old.example.org",
            "page.example.edu",
            "page.example.org",
        )
    }


class TestAmendments:
    def test_labels_and_marks(self, world: World) -> None:
        """Each result comes with its endpoint's label; an amendment says so and is given once."""
        ca, assessor = world.pki.private_ca("Filter CA"), Assessor[int]()
        lms = world.case(LMS, sent(ca, LMS))
        canary = world.case("canary.example.net", sent(ca, "canary.example.net"), canary=True)
        assert [(label, said(result), result.amends) for label, result in assessor.add([Added(lms, 7)])] == [
            (7, ("possible", "private-chain"), False)
        ]
        assert [(label, said(result), result.amends) for label, result in assessor.add([Added(canary, 8)])] == [
            (8, ("proven", "identity-substituted"), False),
            (7, ("proven", "signer-substitutes-elsewhere"), True),
        ]
        assert [label for label, _ in assessor.add([Added(world.case(EXAM, sent(ca, EXAM)), 9)])] == [9]

    def test_only_the_latest_can_be_amended(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is kept is bounded: of many results that could still change, the oldest ones stay as they were given."""
        monkeypatch.setattr(assess, "AMENDABLE_MAX", 3)
        ca, assessor = world.pki.private_ca("Filter CA"), Assessor[int]()
        for number in range(6):
            host = f"h{number}.example.edu"
            assessor.add([Added(world.case(host, sent(ca, host)), number)])
        assert len(assessor._amendable) == 3
        canary = world.case("canary.example.net", sent(ca, "canary.example.net"), canary=True)
        assert [label for label, result in assessor.add([Added(canary, 6)]) if result.amends] == [3, 4, 5]

    def test_what_can_never_change_is_not_kept(self, world: World) -> None:
        """Clean accepted chains, what is proven for good, and nothing at all take no memory."""
        ca, assessor = world.pki.private_ca("Filter CA"), Assessor[int]()
        for case in (
            world.case(EXAM, world.pki.issue([EXAM])),
            world.case("canary.example.net", sent(ca, "canary.example.net"), canary=True),
            world.case(SEARCH, [], **GONE),
        ):
            assessor.add([Added(case, 0)])
        assert (len(assessor._amendable), len(assessor._by_tag)) == (0, 0)
        assessor.add([Added(world.case(LMS, world.pki.self_signed([LMS])), 1)])
        assert len(assessor._amendable) == 1

    def test_an_amended_result_forgets_the_old_one(self, world: World) -> None:
        """Keys that no kept result depends on are not remembered for it."""
        ca, assessor = world.pki.private_ca("Filter CA"), Assessor[int]()
        pinned = world.case(LMS, sent(ca, LMS), seen=PRIVATE, pins=(b"\1" * 32,), identity=RecordedIdentity.PUBLIC)
        assessor.add([Added(pinned, 0)])
        assert assessor._by_tag
        canary = world.case("canary.example.net", sent(ca, "canary.example.net"), canary=True)
        (_, (label, amended)) = assessor.add([Added(canary, 1)])
        assert (label, said(amended)) == (0, ("proven", "identity-substituted"))
        assert assessor._by_tag == {}

    def test_what_the_network_remembers_is_passed_on(self, world: World) -> None:
        """A bound on signers reaches the evidence of the network."""
        assessor = Assessor[int](remembered=1)
        for number in range(3):
            host = f"www.example{number}.org"
            assessor.add([Added(world.case(host, world.pki.self_signed([host])), number)])
        assert len(assessor._network._met[Shared.PRIVATE_SIGNER]) == 1
