"""The evidence on one endpoint: what its observations share, how they compare, and what is derived from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from detector_testing import generate_key
from support.odd_keys import GOST_2012, rewritten
from support.worlds import DAY, EXAM, LMS, PINNED_WITNESS, below, crowded, dated, in_name_of, logged, sent, witnessed

from detector.judge.assess import observations_that_count
from detector.judge.compare import Comparison, compare, difference
from detector.judge.evidence import OTHERS_MAX, EndpointEvidence, Identity, no_machine_roots
from detector.model import FailedAttempt, Hello, Outcome, ProxyObservation, ProxyScheme, Route
from detector.trust.budget import Budget
from detector.trust.roots import ROOTS_HORIZON

if TYPE_CHECKING:
    from conftest import World
    from support.worlds import Chain

    from detector.model import Observation

ADDRESS: Final = "93.184.216.34:443"
TCP: Final[dict[str, Any]] = {"route": Route.DIRECT, "address": ADDRESS}
QUIC: Final[dict[str, Any]] = {**TCP, "route": Route.QUIC}
BROWSER: Final[dict[str, Any]] = {**TCP, "hello": Hello.OPENSSL}
ELSEWHERE: Final[dict[str, Any]] = {"address": "1.1.1.1:443"}


def probed(world: World, *observed: tuple[Chain, dict[str, Any]], **expected: Any) -> EndpointEvidence:  # noqa: ANN401 - fields of Endpoint
    """One endpoint with several observations: each a chain, and what is particular about it."""
    observations = [world.observed(chain, **facts) for chain, facts in observed]
    return world.case(EXAM, [], others=observations[1:], **expected).with_observation(observations[0])


class TestSiblings:
    def test_every_observation_has_all_the_others(self, world: World) -> None:
        """From any observation the rest can be seen, and nothing is derived twice."""
        case = probed(world, *((world.pki.issue([EXAM]), facts) for facts in (TCP, QUIC, BROWSER)))
        group = {case, *case.siblings}
        assert len(group) == 3
        assert all({one, *one.siblings} == group for one in case.siblings)
        assert [one.observation for one in case.siblings] == list(case.others)
        assert case.siblings[0].others == (case.observation, case.others[1])
        assert case.siblings[0].paths is case.siblings[1].siblings[1].paths

    def test_what_is_learned_later_is_there_for_all(self, world: World) -> None:
        """Fetched issuers reach every observation, and none is lost."""
        issued = world.pki.issue([EXAM])
        case = probed(world, (issued.chain[:1], TCP), (issued.chain[:1], QUIC))
        more = case.with_more(case.context, issued.chain[1:])
        assert more.others == case.others
        accepted = [one.chain is not None and bool(one.chain.accepted) for one in (case, more, *more.siblings)]
        assert accepted == [False, True, True]
        assert probed(world, (issued, TCP)).siblings == ()

    def test_their_number_is_bounded(self, world: World) -> None:
        """However many a caller gives, only so many are kept."""
        observation = world.observed(world.pki.issue([EXAM]))
        case = world.case(EXAM, [], others=[observation] * (3 * OTHERS_MAX))
        assert len(case.siblings) == len(case.others) == OTHERS_MAX


class TestWhere:
    def test_one_place(self, world: World) -> None:
        """An address is one place for everybody; a name that a proxy resolves is a place of that proxy's."""

        def by(route: Route, place: str | None, proxy: str = "one.example") -> dict[str, Any]:
            if route is Route.DIRECT:
                return {"route": route, "address": place}
            through = ProxyObservation(scheme=ProxyScheme.HTTP, host=proxy, port=3128)
            return {"route": route, "address": "10.0.0.1:3128", "asked_for": place, "proxy": through}

        forged, genuine = world.pki.private_ca("School CA").issue([EXAM]), world.pki.issue([EXAM])
        name = f"{EXAM}:443"
        for here, there, same in (
            (by(Route.DIRECT, ADDRESS), by(Route.DIRECT, ADDRESS), True),
            (by(Route.DIRECT, ADDRESS), by(Route.HTTP_CONNECT, ADDRESS), True),
            (by(Route.HTTP_CONNECT, ADDRESS), by(Route.HTTP_CONNECT, ADDRESS, "two.example"), True),
            (by(Route.HTTP_CONNECT, name), by(Route.HTTP_CONNECT, name), True),
            (by(Route.HTTP_CONNECT, name), by(Route.HTTP_CONNECT, name, "two.example"), False),
            (by(Route.DIRECT, ADDRESS), by(Route.HTTP_CONNECT, name), False),
            (by(Route.DIRECT, None), by(Route.DIRECT, None), False),
        ):
            assert probed(world, (forged, here), (genuine, there)).seen_at_same_address is same

    def test_what_a_chain_was_found_to_be_stays(self, world: World) -> None:
        """A chain that spent its share is not held against what it left: with more observed it is what it was."""
        ticks = iter(range(10**6))
        budget = Budget(lambda: next(ticks) / 10, run_seconds=0.2, chain_seconds=0.1)
        case = world.case(EXAM, crowded(world.pki, EXAM), context=world.context(budget=budget))
        assert case.chain is not None
        assert case.chain.paths.exceeded
        again = case.with_observation(case.observation)
        more = case.with_more(case.context._replace(portal=None))
        other = case.with_more(case.context._replace(at=case.context.at + DAY))
        assert again.chain is case.chain
        assert more.chain is case.chain
        assert other.chain is not case.chain


class TestCompare:
    def test_what_two_observations_show_together(self, world: World) -> None:
        """Every comparison, from both sides."""
        pki, ca = world.pki, world.pki.private_ca("School CA")
        root = (ca.certificate,)
        genuine, renewed = world.case(EXAM, pki.issue([EXAM])), world.case(EXAM, pki.issue([EXAM]))
        forged, again = world.case(EXAM, ca.issue([EXAM])), world.case(EXAM, ca.issue([EXAM]))
        added = world.case(EXAM, ca.issue([EXAM]), machine=root)
        expected = {
            (genuine, genuine): Comparison.SAME,
            (genuine, renewed): Comparison.BOTH_GENUINE,
            (forged, genuine): Comparison.PRIVATE_HERE,
            (added, genuine): Comparison.PRIVATE_HERE,
            (genuine, forged): Comparison.PRIVATE_THERE,
            (forged, again): Comparison.UNDECIDED,
            (forged, world.case(EXAM, pki.issue([EXAM], scts=0))): Comparison.UNDECIDED,
            (forged, world.case(EXAM, pki.issue([LMS]))): Comparison.UNDECIDED,
            (world.case(EXAM, ca.issue([EXAM]), private_roots=root), genuine): Comparison.UNDECIDED,
            (forged, world.case(EXAM, pki.issue([EXAM]), key_proved=False)): Comparison.NOT_COMPARABLE,
            (world.case(EXAM, [], key_proved=False, outcome=Outcome.RESET), genuine): Comparison.NOT_COMPARABLE,
        }
        assert {pair: compare(*pair) for pair in expected} == expected
        assert set(expected.values()) == set(Comparison)

    def test_a_difference_needs_one_address(self, world: World) -> None:
        """What another address presents may be another server: a resolver can have sent us there."""
        forged, genuine = world.pki.private_ca("School CA").issue([EXAM]), world.pki.issue([EXAM])
        for details, expected in (
            (QUIC, "forged"),
            ({**QUIC, **ELSEWHERE}, "genuine-elsewhere"),
            ({**QUIC, "address": None}, "genuine-elsewhere"),
        ):
            case = probed(world, (forged, TCP), (genuine, details))
            assert difference(case, case.siblings[0]) == expected
            assert difference(case.siblings[0], case) == "other-forged"


class TestWhichCount:
    """The observations whose verdict can be the endpoint's."""

    def counted(self, world: World, *observed: tuple[Chain, dict[str, Any]]) -> list[Observation]:
        return [one.observation for one in observations_that_count(probed(world, *observed))]

    def test_silence_counts_only_where_there_is_nothing_else(self, world: World) -> None:
        """Without a certificate for the first hello on the default route it counts, whatever another one shows."""
        issued, gone = world.pki.issue([EXAM]), {"key_proved": False, "outcome": Outcome.RESET}
        proxied = {**TCP, "route": Route.HTTP_CONNECT}
        assert len(self.counted(world, (issued, TCP), ([], {**QUIC, **gone}), ([], {**BROWSER, **gone}))) == 1
        assert len(self.counted(world, ([], {**TCP, **gone}), (issued, {**TCP, **ELSEWHERE}))) == 1
        for other in (BROWSER, proxied, QUIC, {**TCP, "hello": Hello.READABLE}):
            assert len(self.counted(world, ([], {**TCP, **gone}), (issued, other))) == 2
        assert len(self.counted(world, ([], {**TCP, **gone}))) == 1

    def test_an_unreadable_chain_that_was_answered_readably(self, world: World) -> None:
        """Only a readable answer on the same route, to a hello that asked for one, takes its place."""
        issued = world.pki.issue([EXAM])
        unreadable = (rewritten(issued.leaf, algorithm=GOST_2012), *issued.chain[1:])
        readable = {**TCP, "hello": Hello.READABLE}
        assert probed(world, (unreadable, TCP), (issued, readable)).is_superseded
        for chain, details in (
            (unreadable, readable),
            (issued, {**readable, "route": Route.SOCKS5}),
            (issued, BROWSER),
            (issued, {**readable, "earlier": (FailedAttempt(outcome=Outcome.RESET, hello=Hello.BROWSER),)}),
        ):
            assert not probed(world, (unreadable, TCP), (chain, details)).is_superseded

    def test_another_service_over_quic(self, world: World) -> None:
        """A QUIC server for another name does not count next to TCP, and does where QUIC was all that was asked."""
        other, issued = world.pki.self_signed(["vpn.example.net"]), world.pki.issue([EXAM])
        assert len(self.counted(world, (issued, TCP), (other, QUIC))) == 1
        assert len(self.counted(world, (other, QUIC))) == 1
        assert len(self.counted(world, (issued, TCP), (other, BROWSER))) == 2


class TestSigners:
    def test_a_signer_is_a_key(self, world: World) -> None:
        """The keys at hand that signed the leaf, its own where it did; never a name."""
        pki, ca = world.pki, world.pki.private_ca("Filter CA")
        assert world.case(EXAM, ca.issue([EXAM])).issuing_keys == frozenset()
        assert world.case(EXAM, sent(ca, EXAM)).issuing_keys == {ca.spki_sha256}
        cross = in_name_of(ca, pki.private_ca("Upper CA"))
        both = (*cross.issue([EXAM]).chain, ca.certificate)
        assert world.case(EXAM, both).issuing_keys == {ca.spki_sha256}
        own = pki.self_signed([EXAM])
        assert world.case(EXAM, own).issuing_keys == {own.spki_sha256}
        reused = pki.private_ca("Proxy CA", leaf_key_is_ca_key=True)
        assert world.case(EXAM, reused.issue([EXAM])).issuing_keys == {reused.spki_sha256}
        assert world.case(EXAM, [b"\x30\x00"]).issuing_keys == frozenset()

    def test_keys_above_a_chain_that_is_nobodys_public(self, world: World) -> None:
        """Every key above the leaf counts, but those of paths to public roots."""
        pki, ca = world.pki, world.pki.private_ca("Campus Root")
        issuing = below(ca, "Server CA")
        private = world.case(EXAM, (*issuing.issue([EXAM]).chain, ca.certificate))
        assert private.keys_above == {issuing.spki_sha256, ca.spki_sha256}
        assert world.case(EXAM, pki.issue([EXAM])).keys_above == frozenset()
        assert private.added_roots == frozenset()
        added = world.case(EXAM, issuing.issue([EXAM]), machine=(ca.certificate,))
        assert added.added_roots == {added.machine_paths[0].certificates[-1].sha256}


class TestGenuine:
    @pytest.mark.parametrize(
        ("how", "genuine"),
        [
            ("logged", True),
            ("pinned leaf", True),
            ("pinned CA, timestamps not to be seen", True),
            ("timestamps not to be seen", False),
            ("witnessed", True),
            ("another witness", False),
            ("another witness, pinned", False),
            ("unproved", False),
            ("unlogged", False),
            ("pinned CA, unlogged", False),
            ("another name", False),
            ("declared", False),
        ],
    )
    def test_what_shows_the_genuine_key(self, how: str, genuine: bool, world: World) -> None:  # noqa: FBT001 - a parameter of a table of cases
        """Clean as witnessed, pinned or logged, with the key proved; what is declared is not public."""
        pki, ca = world.pki, world.pki.private_ca("Campus CA")
        issued, plain, own = pki.issue([EXAM]), pki.issue([EXAM], scts=0), pki.self_signed([EXAM])
        unseen: dict[str, Any] = {"seen": {"scts_carried": False}}
        pinned_ca: dict[str, Any] = {"pins": (pki.intermediate_ec.spki_sha256,)}
        other = witnessed(b"\3" * 32)
        case = {
            "logged": world.case(EXAM, issued),
            "pinned leaf": world.case(EXAM, own, pins=(own.spki_sha256,)),
            "pinned CA, timestamps not to be seen": world.case(EXAM, plain, **pinned_ca, **unseen),
            "timestamps not to be seen": world.case(EXAM, plain, **unseen),
            "witnessed": world.case(EXAM, own, **PINNED_WITNESS, seen=witnessed()),
            "another witness": world.case(EXAM, issued, **PINNED_WITNESS, seen=other),
            "another witness, pinned": world.case(
                EXAM, issued, pins=(issued.spki_sha256,), **PINNED_WITNESS, seen=other
            ),
            "unproved": world.case(EXAM, issued, key_proved=False),
            "unlogged": world.case(EXAM, plain),
            "pinned CA, unlogged": world.case(EXAM, plain, **pinned_ca),
            "another name": world.case(LMS, issued),
            "declared": world.case(EXAM, ca.issue([EXAM]), private_roots=(ca.certificate,)),
        }[how]
        assert case.is_genuine is genuine

    def test_genuine_is_what_the_table_clears(self, world: World) -> None:
        """For chains that nothing accuses, showing the genuine key and coming out clean are the same."""
        issued = world.pki.issue([EXAM])
        for case in (world.case(EXAM, issued), world.case(EXAM, issued, pins=(issued.spki_sha256,))):
            assert case.is_genuine is (world.judge(case)[0].verdict == "clean")


class TestStaleRoots:
    """When a list of roots may be too old to know a chain."""

    def stale(self, world: World, roots_days: int, leaf_days: int = 30, **how: Any) -> bool:  # noqa: ANN401 - see below
        """A new root's leaf of that age for a list of that age; `logs` sign it, its issuer may be left out."""
        issuing = below(world.pki.private_ca("New Root"), "New Issuing CA")
        age = {"not_before": world.pki.now - leaf_days * DAY, "not_after": world.pki.now + 60 * DAY}
        leaf = logged(world.pki, issuing, EXAM, how.get("logs"), **age)
        context = world.context(roots=dated(world.roots, roots_days, world.pki), logs=how.get("list", world.logs))
        return world.case(EXAM, leaf.chain[: how.get("length")], context=context).stale_roots

    def test_the_list_and_the_leaf_and_the_moment(self, world: World) -> None:
        """The leaf and the moment are both later than the list by more than the horizon."""
        horizon = ROOTS_HORIZON.days
        assert self.stale(world, horizon + 31)
        assert not self.stale(world, horizon + 30)
        assert self.stale(world, horizon + 2, leaf_days=1)
        assert not self.stale(world, 0, leaf_days=0)
        assert not self.stale(world, 1000, leaf_days=1000 - horizon)

    def test_only_with_timestamps_as_browsers_ask(self, world: World) -> None:
        """Known logs that signed over this issuer, or logs that the list cannot know; no forger can make them."""
        known, unknown = world.pki.ct_logs, world.pki.unknown_logs
        old = world.logs.as_of((world.pki.now - 365 * DAY).date())
        assert self.stale(world, 365, logs=known[:2])
        assert not self.stale(world, 365, logs=known[:1])
        assert not self.stale(world, 365, logs=unknown[:2])
        assert self.stale(world, 365, logs=unknown[:2], list=old)
        assert self.stale(world, 365, logs=[known[0], unknown[0]], list=old)
        copied = world.pki.issue([EXAM], bad_sct_signature=True)
        assert not world.case(
            EXAM, copied.chain[:1], context=world.context(roots=dated(world.roots, 365, world.pki))
        ).stale_roots

    def test_only_for_chains_that_lead_nowhere_known(self, world: World) -> None:
        """An accepted, a declared or a retired chain is what it is at any age of the list."""
        context = world.context(roots=dated(world.roots, 365, world.pki))
        expired = world.pki.issue([EXAM], not_before=world.pki.now - 99 * DAY, not_after=world.pki.now - DAY)
        ca = world.pki.private_ca("Campus CA")
        for chain, expected in (
            (world.pki.issue([EXAM]).chain, {}),
            (expired.chain, {}),
            (logged(world.pki, ca, EXAM).chain, {"private_roots": (ca.certificate,)}),
        ):
            assert not world.case(EXAM, chain, context=context, **expected).stale_roots  # type: ignore[arg-type] # fields

    def test_a_list_without_a_date_is_not_called_old(self, world: World) -> None:
        """What does not say how old it is excuses nothing."""
        issuing = below(world.pki.private_ca("New Root"), "New Issuing CA")
        assert not world.case(EXAM, logged(world.pki, issuing, EXAM)).stale_roots


class TestExpectations:
    def test_several_identities_may_hold(self, world: World) -> None:
        """Split horizon: what is declared and what is public are both known."""
        root = (world.pki.private_ca("Campus CA").certificate,)
        case = world.case(EXAM, world.pki.self_signed([EXAM]), private_roots=root, roots=("Exemplar Root X2",))
        assert case.identities == {Identity.STATED, Identity.DECLARED}

    def test_whether_an_issuer_should_be_fetched(self, world: World) -> None:
        """Only where none of the name is at hand, and the leaf says where."""
        aia = ("http://ca.example/issuing.der",)
        issued = world.pki.issue([EXAM], aia=aia)
        namesake = world.pki.private_ca(copy_from=world.pki.intermediate_ec.certificate).certificate
        assert world.case(EXAM, issued.chain[:1]).issuer_missing
        assert not world.case(EXAM, issued).issuer_missing
        assert not world.case(EXAM, (issued.leaf, namesake)).issuer_missing
        assert not world.case(EXAM, world.pki.issue([EXAM]).chain[:1]).issuer_missing
        assert not world.case(EXAM, []).issuer_missing

    def test_defaults_know_nothing(self, world: World) -> None:
        """Without a machine there are no roots of one, and no time at which one was installed."""
        assert len(no_machine_roots()) == 0
        assert world.context().installed_at(bytes(32)) is None

    def test_a_hash_of_the_whole_certificate_is_a_pin(self, world: World) -> None:
        """A pinned certificate is its leaf's pin, whatever key another one has."""
        issued = world.pki.issue([EXAM], key=generate_key("ec"))
        pinned = world.case(EXAM, issued).presented[0].sha256
        assert world.case(EXAM, issued, certificates=(pinned,)).leaf_pinned
        assert not world.case(EXAM, world.pki.issue([EXAM], key=issued.key), certificates=(pinned,)).leaf_pinned
