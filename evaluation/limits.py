"""Residuals: worlds in which the decision table is known to answer wrongly, found by searching for them.

Pure. A world is here because an answer in it is wrong, so that the rest of the generated material is right by
selection: only the counts over everything are rates. Each world states why (`Limit.why`) and in exactly which settings
it is `wrong`; the other settings show the remedy. The evaluation fails when the answers differ, so that no explanation
outlives its reason or covers anything new.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from detector_testing import CopiedField

from detector.model import (
    Hello,
    Outcome,
    ProxyObservation,
    ProxyScheme,
    RootOrigin,
    Route,
    WitnessObservation,
    WitnessOutcome,
)
from detector.trust import witness_statement
from detector.trust.envelope import public_key_of

from .engines import SUBJECT_AND_NAMES
from .innocent import FIREWALL
from .lab import (
    ALONE,
    DAY,
    EXAM,
    HOSTS,
    LMS,
    NETWORK,
    PINNED,
    ROOT_B,
    STATED,
    Options,
    below,
    installed,
    logged,
    roots_of,
    signed,
    with_root,
)
from .material import Item, Scene, Truth, observe

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator, Mapping

    from detector_testing import CA, Issued

    from .lab import Lab

GROUP: Final = "residuals"
AFTER_UPDATE: Final = "; after an update"


class Limit(NamedTuple):
    """One world: its scenes, why an answer in it is wrong, and in which settings."""

    name: str
    why: str
    scenes: tuple[Scene, ...]
    wrong: frozenset[str]


class _World:
    """Collects the scenes of one world, and in which settings the answer is wrong."""

    def __init__(self, lab: Lab, name: str, why: str, truth: Truth) -> None:
        self.lab, self.name, self.why = lab, name, why
        self.item: Final = lab.items(truth)
        self._scenes: list[Scene] = []
        self._wrong: set[str] = set()

    def wrong(self, setting: str, *items: Item, **more: Any) -> None:  # noqa: ANN401 - fields of Scene
        """Add a setting in which the answer is wrong."""
        self._wrong.add(setting)
        self.right(setting, *items, **more)

    def right(self, setting: str, *items: Item, **more: Any) -> None:  # noqa: ANN401 - fields of Scene
        """Add a setting in which the answer is right: a remedy."""
        self._scenes.append(self.lab.scene(GROUP, self.name, setting, *items, **more))

    def limit(self) -> Limit:
        """Return the complete world."""
        return Limit(self.name, self.why, tuple(self._scenes), frozenset(self._wrong))


def limits(lab: Lab) -> Iterator[Limit]:
    """Yield every known world. The docstring of its function is the reason that the page prints."""
    for truth, worlds in ((Truth.GENUINE, _FALSE_ACCUSATIONS), (Truth.INTERCEPTED, _MISSES)):
        for name, build in worlds.items():
            world = _World(lab, name, " ".join((build.__doc__ or "").split()), truth)
            build(world)
            yield world.limit()


def _with_witness(item: Item, at: dt.datetime) -> Item:
    """Return the endpoint with a pinned witness that saw another TLS session."""
    key, nonce, ours, theirs = Ed25519PrivateKey.generate(), bytes(32), b"\x01" * 32, b"\x02" * 32
    hello = witness_statement.HelloSeen(sha256="00" * 32)
    statement = witness_statement.Statement(
        nonce=witness_statement.encode_nonce(nonce), exporter=theirs, client_hello=hello, time=at
    )
    answer = WitnessObservation(
        outcome=WitnessOutcome.ANSWERED,
        nonce=nonce,
        exporter=ours,
        status=200,
        body=witness_statement.sign(statement, [key]),
    )
    return item._replace(
        endpoint=msgspec.structs.replace(item.endpoint, witness=(public_key_of(key),)),
        observation=msgspec.structs.replace(item.observation, witness=answer),
    )


# --- False accusations --------------------------------------------------------------------------------------------


def _factory_ca(world: _World) -> None:
    """The page bears the right name, and a factory CA of the appliance's maker signed it.

    What products write into what they forge is a strong mark there, whichever host it is. Self-signed pages are known
    for what they are.
    """
    appliance = world.lab.pki.private_ca(FIREWALL)
    for host in ("fw.campus.internal", "fw.example.edu"):
        world.wrong(f"its page on {host}", world.item(host, with_root(appliance.issue([host]), appliance)))
    own = appliance.issue(["fw.example.edu"], subject=FIREWALL, key=appliance.key)
    world.right("self-signed, as most are", world.item("fw.example.edu", own))


def _new_root(world: _World) -> None:
    """Up to 180 days after its date the list of roots is held to be complete.

    A root that serves sooner than that is unknown to it. Of 121 captured chains none had such a root within 274 days.
    An update ends it.
    """
    lab = world.lab
    shown, former = lab.genuine(EXAM), lab.pki.issue([EXAM], key="rsa")
    copy: dict[str, Any] = {"public": roots_of(lab.pki.root_a, date=(lab.now - 92 * DAY).date())}
    fresh = {**copy, "installed": installed(lab.pki.root_b, origin=RootOrigin.SHIPPED)}
    pinned = world.item(EXAM, shown, pinned=[former])
    world.wrong(f"{STATED}; old OS store", world.item(EXAM, shown, roots=(ROOT_B,)), **copy)
    world.wrong(f"{STATED}; fresh OS store", world.item(EXAM, shown, roots=(ROOT_B,)), **fresh)
    world.wrong(f"{PINNED} of another CA; old OS store", pinned, **copy)
    world.right(f"{ALONE}; old OS store", world.item(EXAM, shown), **copy)
    world.right(f"{ALONE}; fresh OS store", world.item(EXAM, shown), **fresh)
    world.right(f"{STATED}{AFTER_UPDATE}", world.item(EXAM, shown, roots=(ROOT_B,)), data=lab.current)
    world.right(f"{PINNED} of another CA{AFTER_UPDATE}", pinned, data=lab.current)


def _distributed_root(world: _World) -> None:
    """A policy put a root on the machine that became public after the copy was made.

    Who put a root there is known, what it is known for is not: added roots are accused by an old copy too, though never
    beyond probable. An update ends it.
    """
    lab = world.lab
    copy: Options = {
        "public": roots_of(lab.pki.root_a, date=(lab.now - 365 * DAY).date()),
        "installed": installed(lab.pki.root_b, origin=RootOrigin.POLICY),
    }
    shown, former = lab.pki.issue([EXAM], not_before=lab.now - DAY), lab.pki.issue([EXAM], key="rsa")
    world.wrong(STATED, world.item(EXAM, shown, roots=(ROOT_B,)), **copy)
    world.wrong(f"{PINNED} of another CA", world.item(EXAM, shown, pinned=[former]), **copy)
    world.right(ALONE, world.item(EXAM, shown), **copy)
    updated: Options = {"data": lab.current, "installed": copy["installed"]}
    world.right(f"{STATED}{AFTER_UPDATE}", world.item(EXAM, shown, roots=(ROOT_B,)), **updated)
    world.right(f"{PINNED} of another CA{AFTER_UPDATE}", world.item(EXAM, shown, pinned=[former]), **updated)


def _new_log(world: _World) -> None:
    """Up to 70 days after its date the list of logs is held to be complete.

    In captured chains at least 118 days lay between a log's first listing and its first timestamp. An update ends it.
    """
    lab = world.lab
    fresh = {host: lab.pki.issue([host], foreign_sct=True) for host in HOSTS}
    _unlogged(world, fresh)
    updated = lab.data_set(lab.pki.root_a, lab.pki.root_b, logs=lab.with_logs(lab.pki.unknown_logs))
    world.right(f"{NETWORK}{AFTER_UPDATE}", *(world.item(host, one) for host, one in fresh.items()), data=updated)


def _never_logged(world: _World) -> None:
    """Some subscribers have their certificates kept out of the logs.

    Browsers refuse those, other clients do not. A public chain that no log knows is what an interceptor below a public
    root presents.
    """
    _unlogged(world, {host: world.lab.pki.issue([host], scts=0) for host in HOSTS})


def _unlogged(world: _World, shown: Mapping[str, Issued]) -> None:
    former = world.lab.pki.issue([EXAM], key="rsa")
    world.wrong(f"{PINNED} of another CA", world.item(EXAM, shown[EXAM], pinned=[former]))
    world.wrong(NETWORK, *(world.item(host, one) for host, one in shown.items()))
    world.right(ALONE, world.item(EXAM, shown[EXAM]))


def _in_company(world: _World) -> None:
    """A canary is intercepted there, and this server is exempted or out of reach.

    What would be possible alone is probable in that company. Declaring the server's root or pinning its key ends it.
    """
    lab, pki = world.lab, world.lab.pki
    box, campus = pki.private_ca("Example Gateway"), pki.private_ca("Example University Root CA")
    canaries = lab.canaries(Truth.INTERCEPTED, lambda host, _: with_root(box.issue([host]), box))
    served = {host: with_root(campus.issue([host]), campus) for host in HOSTS}
    own, renewed = pki.self_signed([EXAM]), pki.self_signed([EXAM])
    trusted = {"installed": installed(campus, origin=RootOrigin.POLICY), "company": canaries}
    world.wrong("self-signed, renewed, learned pins", world.item(EXAM, renewed, pinned=[own]), company=canaries)
    world.wrong("campus PKI installed by policy", world.item(EXAM, served[EXAM]), **trusted)
    two = [world.item(host, served[host]) for host in (EXAM, LMS)]
    world.wrong("campus PKI, two domains", *two, company=canaries)
    world.right("self-signed, nothing known", world.item(EXAM, own), company=canaries)
    inside = world.item(EXAM, served[EXAM], seen={"address": "10.20.0.7:443"})
    world.right("campus PKI installed by policy, private address", inside, **trusted)
    world.right("campus PKI declared", world.item(EXAM, served[EXAM], private_roots=(campus.certificate,)), **trusted)


def _one_root_for_both(world: _World) -> None:
    """The institution's own root signs for its servers and, in its gateway, for everybody else's.

    A server below it that is not declared is indistinguishable from what the gateway makes.
    """
    lab = world.lab
    campus = lab.pki.private_ca("Example University Root CA")
    servers, gateway = campus.subordinate("Example University Servers"), campus.subordinate("Example Gateway")
    shown = with_root(servers.issue([EXAM]), campus)
    policy = {"installed": installed(campus, origin=RootOrigin.POLICY)}

    def company(ca: CA) -> tuple[Item, ...]:
        return lab.canaries(Truth.INTERCEPTED, lambda host, _: with_root(ca.issue([host]), campus))

    declared = world.item(EXAM, shown, private_roots=(campus.certificate,))
    world.wrong("undeclared, one root", world.item(EXAM, shown), company=company(gateway), **policy)
    world.wrong("undeclared, one issuing CA", world.item(EXAM, shown), company=company(servers), **policy)
    world.right("declared, one root", declared, company=company(gateway), **policy)


def _moved(world: _World) -> None:
    """The public identity is stated or learned, and the operator changed to a private certificate since.

    Where the genuine chain is known to be public, a private one in its place is the proof. The pin file has to follow,
    also for what only those inside are shown.
    """
    lab = world.lab
    campus = lab.pki.private_ca("Example University Root CA")
    shown = with_root(campus.issue([EXAM]), campus)
    inside = {"address": "10.20.0.7:443"}
    world.wrong(PINNED, world.item(EXAM, shown, pinned=[lab.genuine(EXAM)]))
    world.wrong(STATED, world.item(EXAM, shown, roots=(ROOT_B,)))
    world.wrong(f"{STATED}; inside answer of a split DNS", world.item(EXAM, shown, roots=(ROOT_B,), seen=inside))
    world.wrong(f"{PINNED}; inside answer", world.item(EXAM, shown, pinned=[lab.genuine(EXAM)], seen=inside))
    both: Options = {"roots": (ROOT_B,), "private_roots": (campus.certificate,)}
    world.right("roots stated, private root declared", world.item(EXAM, shown, **both))


def _two_servers(world: _World) -> None:
    """Another probe of the run saw the genuine certificate, and this address has another server with a private one.

    At a private address that is taken for a split horizon. Institutions that use public addresses inside
    resemble an interceptor that exempts one route.
    """
    lab = world.lab
    private = lab.pki.self_signed([EXAM])
    genuine = observe(lab.genuine(EXAM).chain, address="193.99.144.80:443")
    for address, answer in (("193.99.144.85:443", world.wrong), ("10.20.0.7:443", world.right)):
        answer(f"self-signed at {address}", world.item(EXAM, private, seen={"address": address}, others=[genuine]))


def _broken_server(world: _World) -> None:
    """It presents what no client takes.

    Its CA's former certificate, a damaged copy, and a certificate for another key are also what a forger or a replaying
    box presents; the result names an innocent explanation.
    """
    lab, pki = world.lab, world.lab.pki
    rsa = pki.issue([EXAM], key="rsa")
    old_root = dataclasses.replace(pki.root_a, signature_hash="sha1")
    old = old_root.subordinate(pki.intermediate_rsa.subject, key=pki.intermediate_rsa.key)
    sent = rsa.with_chain(rsa.leaf, old.certificate)
    world.wrong("sends its CA's former certificate, SHA-1; roots stated", world.item(EXAM, sent, roots=(ROOT_B,)))
    world.right("sends its CA's former certificate, SHA-1; nothing known", world.item(EXAM, sent))
    genuine = lab.genuine(EXAM)
    damaged = genuine.with_chain(genuine.leaf[:-8] + bytes(8), *genuine.chain[1:])
    world.wrong("a damaged copy of its certificate", world.item(EXAM, damaged))
    other_key = world.item(EXAM, genuine)
    replayed = observe(genuine.chain, key_proved=False, outcome=Outcome.SIGNATURE_WRONG)
    world.wrong("a key that is not its certificate's", other_key._replace(observation=replayed))


def _own_front(world: _World) -> None:
    """A load balancer of the operator's own ends TLS before the witness sees it.

    The result names `front-of-the-operator`; a witness belongs where TLS ends.
    """
    genuine = world.lab.genuine(EXAM)
    world.wrong("chain logged", _with_witness(world.item(EXAM, genuine), world.lab.now))


_FALSE_ACCUSATIONS: Final[dict[str, Callable[[_World], None]]] = {
    "an appliance's own page below its factory CA": _factory_ca,
    "a root newer than a copy of three months": _new_root,
    "a new public root that a policy distributed, seen by a copy a year old": _distributed_root,
    "logs newer than a current list": _new_log,
    "a public certificate that was never logged": _never_logged,
    "an innocent private server on a network that intercepts": _in_company,
    "one private root for servers and for the gateway": _one_root_for_both,
    "a server that moved from a public CA to a private one": _moved,
    "two servers of one name": _two_servers,
    "a broken server": _broken_server,
    "a front of the operator's own before the witness": _own_front,
}


# --- Misses -------------------------------------------------------------------------------------------------------


def _logged_misissuance(world: _World) -> None:
    """A logged certificate that a public CA gave to the interceptor is what a genuine one is.

    Pins of the genuine server's CA, a witness, or a watch on the logs for the host show it.
    """
    lab = world.lab
    ca = below(lab.pki.root_b, "Other Customer Sub CA", lab)
    shown = {host: logged(ca, lab)(host) for host in HOSTS}
    item = world.item
    world.wrong(ALONE, item(EXAM, shown[EXAM]))
    world.wrong(STATED, item(EXAM, shown[EXAM], roots=(ROOT_B,)))
    world.wrong(NETWORK, *(item(host, shown[host]) for host in HOSTS))
    world.wrong("alone, pins of the CA that signed it", item(EXAM, shown[EXAM], pins=(ca.spki_sha256,)))
    world.right(PINNED, item(EXAM, shown[EXAM], pinned=[lab.genuine(EXAM)]))
    world.right("with a witness", _with_witness(item(EXAM, shown[EXAM]), world.lab.now))


def _pinned_ca_old_list(world: _World) -> None:
    """A pinned CA clears what it signed where the list of logs is too old to know whether that was logged.

    Timestamps of unknown logs cost nothing to make. A current list ends it.
    """
    lab = world.lab
    ca = below(lab.pki.root_b, "Other Customer Sub CA", lab)
    shown = ca.issue([EXAM], sct_list=signed(lab.pki.unknown_logs[:2], lab.now - 29 * DAY))
    pinned = world.item(EXAM, shown, pins=(ca.spki_sha256,))
    world.wrong("alone, pins of the CA that signed it", pinned, logs=lab.aged_logs(365))
    world.right("alone, pins of the CA that signed it; current list", pinned)
    world.right("alone, nothing known", world.item(EXAM, shown), logs=lab.aged_logs(365))


def _own_key(world: _World) -> None:
    """As far as certificates go, the holder of the key is the server. Only a witness sees two sessions."""
    genuine = world.lab.genuine(EXAM)
    world.wrong(ALONE, world.item(EXAM, genuine))
    world.wrong(PINNED, world.item(EXAM, genuine, pinned=[genuine]))
    world.right("with a witness", _with_witness(world.item(EXAM, genuine), world.lab.now))


def _below_the_declared_root(world: _World) -> None:
    """The institution that declares its own root for an endpoint can sign for it, and its gateway does.

    Learned pins or intercepted canaries show it; the follow-up probes canaries only where something is not cleared.
    """
    lab, pki = world.lab, world.lab.pki
    root = pki.private_ca("Example Institution Root")
    gateway = root.subordinate("Example Institution Gateway")
    origin = root.subordinate("Example Institution Servers").issue([EXAM])
    shown = gateway.issue(copy_from=origin.leaf, copies=SUBJECT_AND_NAMES)
    declared: dict[str, Any] = {"private_roots": (root.certificate,)}
    more: dict[str, Any] = {"interceptors": (root.certificate,)}
    canaries = lab.canaries(Truth.INTERCEPTED, lambda host, _: gateway.issue([host]))
    world.wrong("declared", world.item(EXAM, shown, **declared), **more)
    world.right("declared, learned pins", world.item(EXAM, shown, pinned=[origin], **declared), **more)
    world.right("declared, two canaries intercepted", world.item(EXAM, shown, **declared), company=canaries, **more)


def _not_shown(world: _World) -> None:
    """A box that spares browsers, or decrypts the proxy's clients only, shows nobody else its certificate.

    Probing the same address with another program's hello and by every route finds it.
    """
    lab = world.lab
    box = lab.pki.private_ca("Example Gateway")
    genuine, forged = lab.genuine(EXAM), box.issue(copy_from=lab.genuine(EXAM).leaf, copies=frozenset(CopiedField))
    proxy = ProxyObservation(scheme=ProxyScheme.HTTP, host="proxy.example.edu", port=8080)
    place = "193.99.144.80:443"
    program = observe(forged.chain, hello=Hello.OPENSSL, address=place)
    proxied = observe(forged.chain, route=Route.HTTP_CONNECT, proxy=proxy, asked_for=place)
    world.wrong("all but browsers; default hello", world.item(EXAM, genuine))
    world.right("all but browsers; both hellos", world.item(EXAM, genuine, seen={"address": place}, others=[program]))
    world.wrong("through the proxy only; direct route", world.item(EXAM, genuine))
    world.right(
        "through the proxy only; both routes", world.item(EXAM, genuine, seen={"address": place}, others=[proxied])
    )


_MISSES: Final[dict[str, Callable[[_World], None]]] = {
    "a public CA that signs for the interceptor, and logs it": _logged_misissuance,
    "the pinned CA signs for the interceptor, seen with an old list of logs": _pinned_ca_old_list,
    "an interceptor that holds the server's own key": _own_key,
    "an interceptor below the declared private root": _below_the_declared_root,
    "what the default probe is not shown": _not_shown,
}
