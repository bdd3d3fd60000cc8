"""The decision table: from findings to a verdict, as a table. Everything that weighs evidence is in this file.

Room: verdict. Pure: findings in, a decision out. No certificate, socket or clock is looked at here.

Theory of operation
===================
A finding is a pair (check, outcome). `Facts` turns a set of them into yes-or-no questions, and `TABLE` is read from
the top; the first row whose condition holds decides. The numbers are those of docs/decisions.md.

Three rows stand apart, because they are about the handshake and not about the chain:

* Row 1: nothing was presented. An outage is never middleware.
* Row 3: the handshake was signed by another key. Such a chain is a replay, so nothing in it is believed.
* Row 4: the key was not proved for any other reason. Then the rest of the table is read as if it had been: what
  would have been clean becomes inconclusive (a chain alone clears nothing), what would have been middleware stays
  it, at most `probable`.

Rows 2 and 5 belong to the witness. Where one is pinned and its answer is missing, unsigned or not an answer to our
question, what would have been clean becomes inconclusive: to be left out must not pay. Row 18 needs the first pass
over the network: see `assess.assess_all`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from detector.model import Alternative, Assurance, Category, Confidence, Coverage, Result, Scope, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from detector.model import Finding


class Facts:
    """The questions the table asks. Where findings contradict each other, the accusing one counts."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self._seen: Final = frozenset((f.check, f.outcome) for f in findings)

    def has(self, check: str, *outcomes: str) -> bool:
        """Whether a check had one of these outcomes."""
        return any((check, outcome) in self._seen for outcome in outcomes)

    @property
    def certificate_seen(self) -> bool:
        return self.has("presented", "seen", "unreadable")

    @property
    def witness_differs(self) -> bool:
        return self.has("witness", "differs")

    @property
    def witness_equal(self) -> bool:
        return self.has("witness", "equal") and not self.witness_differs

    @property
    def witness_failed(self) -> bool:
        """A witness is pinned here, and no answer of it says that it saw this session."""
        asked = any(check == "witness" for check, _ in self._seen)
        return asked and not self.witness_equal

    @property
    def signature_wrong(self) -> bool:
        return self.has("key-possession", "wrong")

    @property
    def key_proved(self) -> bool:
        return self.has("key-possession", "proved") and not self.has("key-possession", "wrong", "not-proved")

    @property
    def name_right(self) -> bool:
        return self.has("name", "match", "common-name-only") and not self.has("name", "mismatch")

    @property
    def dates_right(self) -> bool:
        return self.has("dates", "valid") and not self.has("dates", "expired", "not-yet-valid", "unreadable")

    @property
    def clock_wrong(self) -> bool:
        return self.has("clock", "wrong")

    @property
    def leaf_pinned(self) -> bool:
        return self.has("pin", "leaf") and not self.pin_mismatch

    @property
    def path_pinned(self) -> bool:
        return self.has("pin", "path") and not self.pin_mismatch

    @property
    def pin_mismatch(self) -> bool:
        return self.has("pin", "mismatch")

    @property
    def unexpected(self) -> bool:
        """Pins do not match, and no pinned certificate of this host under the same public root explains it."""
        return self.pin_mismatch and not self.has("several-certificates", "same-root-as-pinned")

    @property
    def declared_path(self) -> bool:
        return self.has("declared-root", "path") and not self.has("declared-root", "no-path")

    @property
    def public_path(self) -> bool:
        return self.has("public-path", "found") and not self.has("public-path", "none")

    @property
    def logged(self) -> bool:
        return self.has("transparency", "logged") and not self.has("transparency", "unlogged", "unknowable")

    @property
    def unlogged(self) -> bool:
        return self.has("transparency", "unlogged")

    @property
    def vouched(self) -> bool:
        """A public path or a public log stands behind the leaf."""
        return self.public_path or self.logged

    @property
    def private_ca_at_work(self) -> bool:
        """Row 15: one of the facts that only an interceptor shows."""
        return (
            self.genuine_over_quic
            or self.has("machine-root", "path")
            or self.has("shared-issuer", "private")
            or self.has("shared-leaf-key", "shared")
            or self.has("ca-key-reuse", "reused")
            or self.has("issuer-impersonation", "impersonated")
            or self.has("catalogue", "strong")
        )

    @property
    def _no_origin_of_its_own(self) -> bool:
        """Beside a publicly vouched look: no innocent server would present this chain at the same address.

        The right name, so no portal and no neighbour; not self-signed, as the spare certificate of a broken server is;
        not towards a retired root, as old clients are served; and without the public log entries that a public
        certificate of its age has, so no public chain that lost its intermediate.
        """
        return self.name_right and self.unlogged and self.has("private-origin", "private-ca", "issuer-absent")

    @property
    def genuine_on_another_route(self) -> bool:
        """The same address shows by its key, by another route, that it is this host's."""
        return self.has("route-difference", "forged") and self._no_origin_of_its_own

    @property
    def genuine_over_quic(self) -> bool:
        """The same address shows by its key, over QUIC, that it is this host's."""
        return self.has("quic", "forged") and self._no_origin_of_its_own

    @property
    def genuine_to_another_hello(self) -> bool:
        """The same address shows by its key, to another ClientHello, that it is this host's."""
        return self.has("hello-difference", "forged") and self._no_origin_of_its_own


class Row(NamedTuple):
    """One row of the decision table."""

    number: int
    reason: str
    condition: Callable[[Facts], bool]
    verdict: Verdict
    confidence: Confidence | None = None
    assurance: Assurance | None = None
    alternatives: tuple[Alternative, ...] = ()


_CLEAN, _MIDDLEWARE, _INCONCLUSIVE = Verdict.CLEAN, Verdict.MIDDLEWARE, Verdict.INCONCLUSIVE
_POSSIBLE, _PROBABLE, _PROVEN = Confidence.POSSIBLE, Confidence.PROBABLE, Confidence.PROVEN
_WRONG_HOST: Final = (Alternative.CAPTIVE_PORTAL, Alternative.BLOCK_PAGE, Alternative.WRONG_SERVER)
_STALE_PINS: Final = (Alternative.PIN_ROTATION, Alternative.PUBLIC_CA_MISISSUANCE)
_SCTS_ELSEWHERE: Final = (Alternative.SCTS_OUTSIDE_CERTIFICATE,)

NOTHING_SEEN: Final = Row(1, "no-certificate", lambda f: not f.certificate_seen, _INCONCLUSIVE)
SIGNATURE_WRONG: Final = Row(3, "replayed-chain", lambda f: f.signature_wrong, _MIDDLEWARE, _PROBABLE)
KEY_NOT_PROVED: Final = Row(4, "key-not-proved", lambda f: not f.key_proved, _INCONCLUSIVE)
WITNESS_DIFFERS: Final = Row(2, "witness-differs", lambda f: f.witness_differs, _MIDDLEWARE, _PROVEN)

WITNESS_FAILED: Final = Row(5, "witness-failed", lambda f: f.witness_failed, _INCONCLUSIVE)

TABLE: Final[tuple[Row, ...]] = (
    Row(5, "witnessed", lambda f: f.witness_equal, _CLEAN, assurance=Assurance.WITNESSED),
    Row(
        6,
        "pinned",
        lambda f: f.leaf_pinned or (f.path_pinned and f.name_right and f.dates_right),
        _CLEAN,
        assurance=Assurance.PINNED,
    ),
    Row(
        7,
        "declared-private-root",
        lambda f: f.declared_path and f.name_right and f.dates_right and not f.pin_mismatch,
        _CLEAN,
        assurance=Assurance.TRUSTED,
    ),
    Row(
        7,
        "declared-private-root-pin-mismatch",
        lambda f: f.declared_path and f.name_right and f.dates_right,
        _MIDDLEWARE,
        _POSSIBLE,
        alternatives=(Alternative.PIN_ROTATION,),
    ),
    Row(
        8,
        "clock-skew",
        lambda f: f.clock_wrong and not f.dates_right and f.name_right and (f.path_pinned or f.declared_path),
        _INCONCLUSIVE,
    ),
    Row(9, "wrong-name", lambda f: f.vouched and not f.name_right, _MIDDLEWARE, _POSSIBLE, alternatives=_WRONG_HOST),
    Row(10, "logged", lambda f: f.logged and not f.unexpected, _CLEAN, assurance=Assurance.LOGGED),
    Row(11, "logged-pin-mismatch", lambda f: f.logged, _MIDDLEWARE, _POSSIBLE, alternatives=_STALE_PINS),
    Row(
        12,
        "public-but-unlogged-and-unexpected",
        lambda f: f.public_path and f.unlogged and (f.pin_mismatch or f.has("shared-issuer", "public-unlogged")),
        _MIDDLEWARE,
        _PROBABLE,
        alternatives=_SCTS_ELSEWHERE,
    ),
    Row(
        13,
        "public-but-unlogged",
        lambda f: f.public_path and f.unlogged,
        _MIDDLEWARE,
        _POSSIBLE,
        alternatives=_SCTS_ELSEWHERE,
    ),
    Row(
        14,
        "publicly-trusted",
        lambda f: f.public_path and not f.unexpected,
        _CLEAN,
        assurance=Assurance.TRUSTED,
    ),
    Row(
        14,
        "publicly-trusted-pin-mismatch",
        lambda f: f.public_path,
        _MIDDLEWARE,
        _POSSIBLE,
        alternatives=_STALE_PINS,
    ),
    Row(15, "interception-ca", lambda f: f.private_ca_at_work, _MIDDLEWARE, _PROVEN),
    Row(
        16,
        "issuer-missing",
        lambda f: f.has("missing-issuer", "possible"),
        _MIDDLEWARE,
        _POSSIBLE,
        alternatives=(Alternative.INCOMPLETE_CHAIN,),
    ),
    Row(17, "private-chain-pin-mismatch", lambda f: f.pin_mismatch, _MIDDLEWARE, _PROVEN),
    Row(
        21,
        "genuine-on-another-route",
        lambda f: f.genuine_on_another_route,
        _MIDDLEWARE,
        _PROBABLE,
        alternatives=(Alternative.PRIVATE_PKI,),
    ),
    Row(18, "issuer-as-intercepted", lambda f: f.has("issuer-shape", "as-intercepted"), _MIDDLEWARE, _PROBABLE),
    Row(
        20,
        "genuine-to-another-hello",
        lambda f: f.genuine_to_another_hello,
        _MIDDLEWARE,
        _PROBABLE,
        alternatives=(Alternative.PRIVATE_PKI,),
    ),
    Row(19, "private-chain", lambda _: True, _MIDDLEWARE, _POSSIBLE),
)
"""Rows 5 to 21, read from the top. From row 15 on there is neither a public path nor a public log."""

_ALTERNATIVES_OF_ORIGIN: Final[dict[str, tuple[Alternative, ...]]] = {
    "retired-root": (Alternative.STALE_ROOTS, Alternative.INCOMPLETE_CHAIN),
    "self-signed": (Alternative.SELF_SIGNED_ORIGIN,),
    "issuer-absent": (Alternative.INCOMPLETE_CHAIN, Alternative.PRIVATE_PKI),
    "private-ca": (Alternative.PRIVATE_PKI,),
}
"""Row 19: which innocent readings fit, by the outcome of the check `private-origin`."""


class Decision(NamedTuple):
    """What the table says."""

    row: int
    reason: str
    verdict: Verdict
    confidence: Confidence | None = None
    assurance: Assurance | None = None
    alternatives: tuple[Alternative, ...] = ()


def decide(findings: Iterable[Finding]) -> Decision:
    """Read the decision table for one endpoint."""
    facts = Facts(findings)
    for row in (NOTHING_SEEN, WITNESS_DIFFERS, SIGNATURE_WRONG):
        if row.condition(facts):
            return _decision(row, facts)
    decision = next(_decision(row, facts) for row in TABLE if row.condition(facts))
    if facts.key_proved:
        failed = decision.verdict is Verdict.CLEAN and facts.witness_failed
        return _decision(WITNESS_FAILED, facts) if failed else decision
    if decision.verdict is not Verdict.MIDDLEWARE:
        return _decision(KEY_NOT_PROVED, facts)
    if decision.confidence is Confidence.PROVEN:
        return decision._replace(confidence=Confidence.PROBABLE)
    return decision


def _decision(row: Row, facts: Facts) -> Decision:
    alternatives = row.alternatives
    if row.number == 19:  # noqa: PLR2004 - the table's own number
        alternatives = tuple(
            a
            for outcome, fitting in _ALTERNATIVES_OF_ORIGIN.items()
            if facts.has("private-origin", outcome)
            for a in fitting
        ) or (Alternative.PRIVATE_PKI,)
        if not facts.name_right:
            alternatives = (*alternatives, Alternative.CAPTIVE_PORTAL, Alternative.BLOCK_PAGE)
        if facts.has("route-difference", "genuine-elsewhere", "private-here"):
            alternatives = (*alternatives, Alternative.SPLIT_HORIZON, Alternative.WRONG_SERVER)
    portal_seen = facts.has("captive-portal", "control-request", "one-certificate", "known-key")
    if portal_seen and not facts.name_right and row.confidence in {Confidence.POSSIBLE, Confidence.PROBABLE}:
        alternatives = tuple(dict.fromkeys((Alternative.CAPTIVE_PORTAL, *alternatives)))
    return Decision(row.number, row.reason, row.verdict, row.confidence, row.assurance, alternatives)


ACCUSING_ROWS: Final = frozenset({15, 17})
"""The rows whose issuer shapes row 18 goes by."""


class NetworkDecision(NamedTuple):
    """What the endpoints say together."""

    verdict: Verdict
    confidence: Confidence | None
    scope: Scope
    coverage: dict[Category, Coverage]


def decide_network(results: Sequence[Result], *, named: Collection[str] = ()) -> NetworkDecision:
    """The verdict on a network.

    `named` are the endpoints (`host:port`) that the caller asked for by name: if one of those, or one of category
    `exam`, is inconclusive, the network is not called clean.
    """
    middleware = [r for r in results if r.verdict is Verdict.MIDDLEWARE]
    clean = [r for r in results if r.verdict is Verdict.CLEAN]
    inconclusive = [r for r in results if r.verdict is Verdict.INCONCLUSIVE]
    order = list(Confidence)
    confidence = max((r.confidence for r in middleware if r.confidence), key=order.index, default=None)
    if middleware:
        verdict = Verdict.MIDDLEWARE
    elif not clean or any(r.endpoint.name in named or r.endpoint.category is Category.EXAM for r in inconclusive):
        verdict = Verdict.INCONCLUSIVE
    else:
        verdict = Verdict.CLEAN
    scope = Scope.NONE if not middleware else Scope.SELECTIVE if clean else Scope.ALL
    return NetworkDecision(verdict, confidence, scope, _coverage(results))


def _coverage(results: Iterable[Result]) -> dict[Category, Coverage]:
    seen: dict[Category, set[Verdict]] = {}
    for result in results:
        seen.setdefault(result.endpoint.category, set()).add(result.verdict)
    return {category: _cover(seen[category]) for category in Category if category in seen}


def _cover(verdicts: set[Verdict]) -> Coverage:
    if {Verdict.CLEAN, Verdict.MIDDLEWARE} <= verdicts:
        return Coverage.MIXED
    if Verdict.MIDDLEWARE in verdicts:
        return Coverage.DECRYPTED
    return Coverage.CLEAR if Verdict.CLEAN in verdicts else Coverage.UNKNOWN
