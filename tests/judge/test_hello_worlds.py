"""What the network chooses about which hellos it answers, tried on worlds made by chance (docs/hello-and-quic.md).

A world is what each connection of one endpoint was answered with. The oracles here read the description of the world,
not what the rooms derive from it.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import HealthCheck, example, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample
from support.generated import HOST, Known, Maker
from support.odd_keys import GOST_2012, rewritten
from support.profiles import examples
from support.worlds import PINNED_WITNESS, witnessed

from detector.judge.assess import assess_all
from detector.judge.evidence import EndpointEvidence
from detector.judge.facts import Facts
from detector.judge.wording import Confirmation, confirmation
from detector.model import (
    Confidence,
    Endpoint,
    Engine,
    FailedAttempt,
    Hello,
    Observation,
    Outcome,
    ProxyObservation,
    ProxyScheme,
    Reason,
    Result,
    Route,
    Verdict,
)
from detector.trust.certificate import Certificate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from detector_testing import PrivatePKI

TRIED: Final = settings(
    max_examples=examples(80),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
HERE: Final = "93.184.215.14:443"
ELSEWHERE: Final = "93.184.215.15:443"


class Shown(enum.Enum):
    """What one connection was answered with."""

    NOTHING = "nothing"
    GENUINE = "the genuine chain"
    ROTATED = "another logged chain"
    FORGED = "a private chain"
    UNREADABLE = "a chain that cannot be verified"


@dataclasses.dataclass(frozen=True)
class Connection:
    """One connection: what was sent, by which route, after what, and what came back."""

    shown: Shown
    hello: Hello = Hello.BROWSER
    route: Route = Route.DIRECT
    small: bool = False
    earlier: tuple[FailedAttempt, ...] = ()
    address: str = HERE

    @property
    def stands_in(self) -> bool:
        """Whether it came in place of another hello's failure."""
        return any(failed.hello is not self.hello for failed in self.earlier)


failures: Final = st.builds(
    FailedAttempt,
    outcome=st.sampled_from([Outcome.RESET, Outcome.CLOSED, Outcome.TLS_ALERT, Outcome.HANDSHAKE_TIMEOUT]),
    hello=st.sampled_from([Hello.BROWSER, Hello.BROWSER, Hello.OPENSSL]),
    small_hello=st.booleans(),
    address=st.sampled_from([HERE, ELSEWHERE, None]),
)
connections: Final = st.builds(
    Connection,
    shown=st.sampled_from(Shown),
    hello=st.sampled_from(Hello),
    route=st.sampled_from([Route.DIRECT, Route.DIRECT, Route.DIRECT_IPV6, Route.QUIC, Route.HTTP_CONNECT]),
    small=st.booleans(),
    earlier=st.lists(failures, max_size=3).map(tuple),
    address=st.sampled_from([HERE, ELSEWHERE]),
)
firsts: Final = st.builds(
    Connection,
    shown=st.sampled_from(Shown),
    hello=st.sampled_from([Hello.BROWSER, Hello.BROWSER, Hello.WIDEST]),
    small=st.booleans(),
    earlier=st.lists(failures.filter(lambda failed: failed.hello is Hello.BROWSER), max_size=3).map(tuple),
).filter(lambda first: first.hello is Hello.BROWSER or bool(first.earlier))
"""What the first probe may show: it begins with a browser's hello."""
worlds: Final = st.tuples(firsts, st.lists(connections, max_size=4)).map(lambda parts: (parts[0], *parts[1]))
known_ones: Final = st.sampled_from([Known.NOTHING, Known.STATED, Known.PINNED, Known.PINS_OF_UNKNOWN])


class Chains:
    """The chains of a world, made once."""

    def __init__(self, pki: PrivatePKI) -> None:
        self.maker: Final = Maker(pki)
        maker, forged = self.maker, self.maker.private.issue([HOST])
        genuine = maker.genuine
        self.of: Final[dict[Shown, tuple[bytes, ...]]] = {
            Shown.NOTHING: (),
            Shown.GENUINE: genuine.chain,
            Shown.ROTATED: maker.rotated.chain,
            Shown.FORGED: (*forged.chain, maker.private.certificate),
            Shown.UNREADABLE: (rewritten(genuine.leaf, algorithm=GOST_2012), *genuine.chain[1:]),
        }

    def observed(self, one: Connection, **more: Any) -> Observation:  # noqa: ANN401 - fields of Observation
        """The observation of one connection."""
        chain = self.of[one.shown]
        proxied = one.route is Route.HTTP_CONNECT
        proxy = ProxyObservation(scheme=ProxyScheme.HTTP, host="proxy.example.net", port=3128) if proxied else None
        facts: dict[str, Any] = {
            "outcome": Outcome.COMPLETE if chain else Outcome.RESET,
            "key_proved": bool(chain),
            "chain": tuple(Certificate.read(der).presented() for der in chain),
            **more,
        }
        return Observation(
            route=one.route,
            hello=one.hello,
            small_hello=one.small,
            earlier=one.earlier,
            address="192.0.2.3:3128" if proxied else one.address,
            asked_for=one.address if proxied else None,
            proxy=proxy,
            scts_carried=True,
            **facts,
        )

    def result(self, world: Sequence[Connection], known: Known = Known.NOTHING) -> Result:
        """The result of an endpoint whose connections were answered like this."""
        first, *others = (self.observed(one) for one in world)
        held = self.maker.context()
        return assess_all([EndpointEvidence(self.maker.endpoint(known), first, held, others=others)])[0]


@pytest.fixture(scope="module")
def chains(pki: PrivatePKI) -> Chains:
    return Chains(pki)


def grade(result: Result) -> int:
    """How grave a result is: clean, inconclusive, possible, probable, proven."""
    if result.confidence is not None:
        return 2 + list(Confidence).index(result.confidence)
    return int(result.verdict is Verdict.INCONCLUSIVE)


def is_browser_answered(world: Sequence[Connection]) -> bool:
    """Whether a browser's hello itself got a certificate over TCP, without a proxy."""
    return any(
        one.shown is not Shown.NOTHING
        and one.hello is Hello.BROWSER
        and not one.stands_in
        and one.route not in {Route.QUIC, Route.HTTP_CONNECT}
        for one in world
    )


World = tuple[Connection, ...]


def clears_a_silent_browser(chains: Chains, world: World, known: Known) -> str | None:
    """A clean or confirmed endpoint although a browser's hello got no certificate."""
    if is_browser_answered(world):
        return None
    result = chains.result(world, known)
    if result.verdict is not Verdict.CLEAN and confirmation(result) is Confirmation.UNCONFIRMED:
        return None
    return f"{result.verdict} {confirmation(result)} ({result.reason})"


def clears_a_forger(chains: Chains, world: World, known: Known) -> str | None:
    """An endpoint that is not accused although some connection showed a forged chain."""
    if all(one.shown is not Shown.FORGED for one in world):
        return None
    result = chains.result(world, known)
    return None if result.verdict is Verdict.MIDDLEWARE else f"{result.verdict} ({result.reason})"


def accuses_for_size_or_address(chains: Chains, world: World, known: Known) -> str | None:
    """A world whose answer changes with the size of hellos and with failures of the same hello before them."""
    plain = tuple(
        dataclasses.replace(
            one, small=False, earlier=tuple(failed for failed in one.earlier if failed.hello is not one.hello)
        )
        for one in world
    )
    if any(was.earlier[:1] != now.earlier[:1] and now.stands_in for was, now in zip(world, plain, strict=True)):
        return None  # what was asked for first is another hello then
    before, after = chains.result(plain, known), chains.result(world, known)
    if (before.verdict, before.confidence, before.reason) == (after.verdict, after.confidence, after.reason):
        return None
    return f"{before.verdict} ({before.reason}) became {after.verdict} ({after.reason})"


@given(world=worlds, known=known_ones)
@TRIED
def test_no_choice_of_hellos_clears_a_silent_browser(chains: Chains, world: World, known: Known) -> None:
    """Whichever other hellos, transports and routes are answered with the genuine chain, the endpoint stays open."""
    assert clears_a_silent_browser(chains, world, known) is None


@given(world=worlds, known=known_ones)
@TRIED
def test_who_forges_for_one_hello_is_never_clean(chains: Chains, world: World, known: Known) -> None:
    """Forging for some connections and passing on all others is an accusation, whatever else was shown."""
    assert clears_a_forger(chains, world, known) is None


@given(world=worlds, known=known_ones)
@TRIED
def test_size_and_address_accuse_nobody_and_clear_nobody(chains: Chains, world: World, known: Known) -> None:
    """A smaller hello and another address are the same question: the answer counts as that of the first."""
    assert accuses_for_size_or_address(chains, world, known) is None


@given(world=worlds, more=connections, known=st.sampled_from([Known.NOTHING, Known.STATED]))
@TRIED
def test_another_connection_never_makes_it_milder(chains: Chains, world: World, more: Connection, known: Known) -> None:
    """Only an answer to the browser's hello, or a readable one in place of an unreadable, may end an open question."""
    before, after = chains.result(world, known), chains.result((*world, more), known)
    if more.hello is Hello.READABLE or (not is_browser_answered(world) and is_browser_answered((more,))):
        if before.verdict is Verdict.MIDDLEWARE and Shown.FORGED in {one.shown for one in world}:
            assert after.verdict is Verdict.MIDDLEWARE
        return
    assert grade(after) >= grade(before)


@given(world=worlds, known=known_ones, data=st.data())
@TRIED
def test_the_order_of_further_connections_does_not_matter(
    chains: Chains, world: World, known: Known, data: st.DataObject
) -> None:
    """However the further observations are sorted, the verdict is the same."""
    shuffled = (world[0], *data.draw(st.permutations(world[1:])))
    one, other = chains.result(world, known), chains.result(shuffled, known)
    assert (one.verdict, one.confidence) == (other.verdict, other.confidence)


RESET: Final = FailedAttempt(outcome=Outcome.RESET, hello=Hello.BROWSER)
READABLE_IN_PLACE_OF_ANOTHER: Final = (
    Connection(Shown.UNREADABLE, Hello.WIDEST, earlier=(RESET,)),
    Connection(Shown.GENUINE, Hello.READABLE),
)
"""A box that resets a browser's hello, shows a chain that cannot be verified to the widest, and lets the third pass."""


@given(world=worlds, known=known_ones)
@example(world=READABLE_IN_PLACE_OF_ANOTHER, known=Known.NOTHING)
@TRIED
def test_an_open_question_says_so(chains: Chains, world: World, known: Known) -> None:
    """Where only another hello or QUIC got a certificate on this route, that is the reason, and IT is addressed."""
    result = chains.result(world, known)
    direct = [one for one in world if one.route is not Route.HTTP_CONNECT and one.shown is not Shown.NOTHING]
    if is_browser_answered(world) or result.verdict is Verdict.MIDDLEWARE or not direct:
        assert result.reason is not Reason.OTHER_HELLO or Facts(result.findings).other_hello
    elif result.reason is not Reason.NO_CERTIFICATE:
        assert result.reason is Reason.OTHER_HELLO
        assert "it" in result.advice_for


# A witness is asked on a connection of its own

LEAVES: Final = ("the same leaf", "the same key, renewed", "another leaf of the same CA", "a forged one", "nothing")


class Witnessed:
    """A private server with a witness, which a box may decrypt for one of two hellos."""

    def __init__(self, pki: PrivatePKI) -> None:
        campus, school = pki.private_ca("Campus CA"), pki.private_ca("School CA")
        own, forged = campus.issue([HOST]), school.issue([HOST])
        self.context: Final = Maker(pki).context()
        self.own: Final = (*own.chain, campus.certificate)
        self.shown: Final[dict[str, tuple[bytes, ...]]] = {
            "the same leaf": self.own,
            "the same key, renewed": (campus.issue([HOST], key=own.key).leaf, campus.certificate),
            "another leaf of the same CA": (*campus.issue([HOST]).chain, campus.certificate),
            "a forged one": (*forged.chain, school.certificate),
            "nothing": (),
        }

    def result(self, leaf: str, *, key_proved: bool, exporter: bytes, hello: Hello, witness_proved: bool) -> Result:
        """The result where this answered the browser's hello, and the witness saw that exporter with another one."""
        chain = self.shown[leaf]
        browser = _of(chain, key_proved=key_proved and bool(chain))
        asked = _of(self.own, key_proved=witness_proved, hello=hello, **witnessed(exporter))
        endpoint = Endpoint(host=HOST, **PINNED_WITNESS)
        return assess_all([EndpointEvidence(endpoint, browser, self.context, others=[asked])])[0]


def _of(chain: Sequence[bytes], **facts: Any) -> Observation:  # noqa: ANN401 - fields of Observation
    return Observation(
        outcome=Outcome.COMPLETE if chain else Outcome.RESET,
        route=Route.DIRECT,
        address=HERE,
        chain=tuple(Certificate.read(der).presented() for der in chain),
        **facts,
    )


@pytest.fixture(scope="module")
def private_server(pki: PrivatePKI) -> Witnessed:
    return Witnessed(pki)


OURS, THEIRS = b"\2" * 32, b"\3" * 32


@pytest.mark.parametrize("witness_proved", [True, False])
@pytest.mark.parametrize("exporter", [OURS, THEIRS])
@pytest.mark.parametrize("key_proved", [True, False])
@pytest.mark.parametrize("leaf", LEAVES)
def test_a_witness_settles_what_ended_at_its_key(
    leaf: str,
    key_proved: bool,  # noqa: FBT001 - a parameter of the test
    exporter: bytes,
    witness_proved: bool,  # noqa: FBT001 - a parameter of the test
    private_server: Witnessed,
) -> None:
    """The browser's session is clean exactly where it and the witnessed one both proved the same key."""
    result = private_server.result(
        leaf, key_proved=key_proved, exporter=exporter, hello=Hello.OPENSSL, witness_proved=witness_proved
    )
    same = leaf in {"the same leaf", "the same key, renewed"}
    if exporter == THEIRS:
        assert (result.reason, result.confidence) == (Reason.WITNESS_DIFFERS, Confidence.PROVEN)
    elif leaf == "nothing":
        assert (result.verdict, result.reason) == (Verdict.INCONCLUSIVE, Reason.OTHER_HELLO)
    elif same and key_proved and witness_proved:
        assert (result.verdict, result.assurance) == (Verdict.CLEAN, "witnessed")
    else:
        assert result.verdict is Verdict.MIDDLEWARE
        assert (result.confidence is Confidence.POSSIBLE) == (leaf != "a forged one" or not witness_proved)


@pytest.mark.parametrize("hidden", [False, True], ids=["self-signed", "leaf alone"])
def test_members_of_a_farm_substitute_nothing(
    hidden: bool,  # noqa: FBT001 - a parameter of the test
    pki: PrivatePKI,
    private_server: Witnessed,
) -> None:
    """Servers of one name with keys of their own, and no CA that is seen to be common, are not each other's proof."""
    campus = pki.private_ca("Campus CA")
    issue = campus.issue if hidden else pki.self_signed
    browser, asked = (_of((issue([HOST]).leaf,), key_proved=True, **facts) for facts in ({}, witnessed(OURS)))
    case = EndpointEvidence(Endpoint(host=HOST, **PINNED_WITNESS), browser, private_server.context, others=[asked])
    result = assess_all([case])[0]
    assert (result.reason, result.confidence) == (Reason.PRIVATE_CHAIN, Confidence.POSSIBLE)


@pytest.mark.parametrize(("leaf", "verdict"), [("the same leaf", Verdict.CLEAN), ("a forged one", Verdict.MIDDLEWARE)])
def test_a_browsers_report_of_a_witnessed_key_accuses_nobody(
    leaf: str, verdict: Verdict, private_server: Witnessed
) -> None:
    """What the user's own browser reports proves no key, so it adds nothing; another leaf is held against it."""
    asked = _of(private_server.own, key_proved=True, hello=Hello.OPENSSL, **witnessed(OURS))
    reported = _of(private_server.shown[leaf], engine=Engine.BROWSER)
    probed = _of(private_server.own, key_proved=True)
    endpoint = Endpoint(host=HOST, **PINNED_WITNESS)
    case = EndpointEvidence(endpoint, probed, private_server.context, others=[asked, reported])
    assert assess_all([case])[0].verdict is verdict


# The properties can fail

BREAKS: Final[dict[str, tuple[str, object, Callable[[Chains, World, Known], str | None]]]] = {
    "another hello clears in its place": (
        "detector.judge.evidence.EndpointEvidence.is_stand_in",
        property(lambda _: False),
        clears_a_silent_browser,
    ),
    "any certificate on the route will do": (
        "detector.judge.assess.is_answered",
        lambda evidence: any(o.leaf is not None and not o.is_stand_in for o in (evidence, *evidence.siblings)),
        clears_a_silent_browser,
    ),
    "what has a hello of its own is left out": (
        "detector.judge.evidence.EndpointEvidence.is_another_service",
        property(lambda self: self.observation.hello is Hello.OPENSSL),
        clears_a_forger,
    ),
    "a smaller hello is another hello": (
        "detector.judge.evidence.EndpointEvidence.is_stand_in",
        property(lambda self: bool(self.observation.earlier)),
        accuses_for_size_or_address,
    ),
}


WORLDS_TRIED: Final = 10_000
"""Worlds at most until one contradicts the property. Of 400 none did in one run of several, for the rarest kind."""


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_rule_is_found(name: str, chains: Chains, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one rule broken on purpose, a world contradicts a property."""
    target, value, violation = BREAKS[name]
    monkeypatch.setattr(target, value)
    tried = settings(max_examples=WORLDS_TRIED, deadline=None, database=None)
    try:
        find(worlds, lambda world: violation(chains, world, Known.NOTHING) is not None, settings=tried)
    except NoSuchExample:
        pytest.fail(f"no world of {WORLDS_TRIED} contradicts the property although {name}")
