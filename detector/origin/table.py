"""The decision table of the server's side: from what was seen of sessions to a verdict, as data.

Room: origin. Pure: facts in, a decision out. docs/origin-decisions.md is generated from this file and from `rules`.

Theory of operation
===================
All rules that fit are read, and the most severe decides; of equals, the first. A rule has grades, read from the top:
the first whose condition holds gives the confidence. Where none fits, nothing was seen, and that clears nobody:
products that change a browser's own ClientHello on its way, or send a copy of it, show no contradiction.

Two things hold one session at `possible`: another browser's own ClientHello, which a changed User-Agent explains, and a
browser that is a part of an application, whose own requests may borrow its name. One holds a network there: a
ClientHello that so many networks share, without a browser that arrives with its own, that a front of the site explains
it.
Only `proven` excludes every innocent reading, so only it has no alternatives.
"""

from __future__ import annotations

import enum
import functools
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.model import Alternative, Confidence

if TYPE_CHECKING:
    from collections.abc import Callable

_A: Final = Alternative


class Verdict(enum.StrEnum):
    """The answer for one session or one network: never `clean`."""

    NOTHING_SEEN = "nothing-seen"
    MIDDLEWARE = "middleware"


class Reason(enum.StrEnum):
    """The rule that gave a verdict."""

    ONE_OFFER_SEVERAL_BROWSERS = "one-offer-several-browsers"
    IMPOSSIBLE_OFFER = "impossible-offer"
    INTERCEPTOR_HEADER = "interceptor-header"
    NOTHING_SEEN = "nothing-seen"


class Sharing(enum.Enum):
    """Whether signed-in sessions of different people in one network share one offer under several browser families."""

    NONE = "not shared"
    BROWSERS_OWN = "shared, and one that a browser can send"
    NOBODYS = "shared, and the offer of no browser"


class Facts(NamedTuple):
    """What the table reads.

    `parts` is the number of parts of an offer that contradict the claimed family. `another_browsers`: the offer, as far
    as it was seen, is one that another family can send. `has_header`: a request header that only interceptors add.
    `is_embedded`: the browser is a part of an application.

    Of a network: `sharing`; `replaces`: several people have the offer in place of their browser's own, and nobody's
    browser of these families arrives with its own; `engines_differ`: scripts in the pages saw different engines behind
    the shared offer; `nothing_in_between`: no front of the site ended TLS; `everywhere`: several networks have the
    offer and no browser that arrives with its own, and there are no more networks that have such browsers.
    """

    parts: int = 0
    another_browsers: bool = False
    has_header: bool = False
    is_embedded: bool = False
    sharing: Sharing = Sharing.NONE
    replaces: bool = False
    engines_differ: bool = False
    nothing_in_between: bool = False
    everywhere: bool = False


class Grade(NamedTuple):
    """The confidence of a rule under a condition; `when` is the condition in words, empty where there is none."""

    confidence: Confidence
    when: str = ""
    holds: Callable[[Facts], bool] = lambda _: True


class Rule(NamedTuple):
    """One rule, named by its reason; `needs` is `holds` in words, `why` a sentence for readers."""

    reason: Reason
    needs: str
    holds: Callable[[Facts], bool]
    why: str
    grades: tuple[Grade, ...]
    alternatives: tuple[Alternative, ...]


class Decision(NamedTuple):
    """A verdict and the rule that gave it."""

    reason: Reason
    verdict: Verdict
    confidence: Confidence | None = None
    alternatives: tuple[Alternative, ...] = ()


_FRONT: Final = Grade(
    Confidence.POSSIBLE,
    "several networks have it, all without a browser with its own, and no more have such browsers",
    lambda f: f.everywhere,
)

TABLE: Final = (
    Rule(
        Reason.ONE_OFFER_SEVERAL_BROWSERS,
        "sessions that different people signed in to, in one network, have one offer under two browser families",
        lambda f: f.sharing is not Sharing.NONE,
        "Browsers of different families reached the server with one and the same ClientHello.",
        (
            _FRONT,
            Grade(
                Confidence.PROVEN,
                "scripts in the pages saw different engines, and nothing of the site's own ends TLS in between",
                lambda f: f.engines_differ and f.nothing_in_between,
            ),
            Grade(
                Confidence.PROBABLE,
                "no browser can send it, or scripts saw different engines",
                lambda f: f.sharing is Sharing.NOBODYS or f.engines_differ,
            ),
            Grade(
                Confidence.PROBABLE,
                "three people have it in place of their browser's own, and nobody there with such a browser has that",
                lambda f: f.replaces,
            ),
            Grade(Confidence.POSSIBLE),
        ),
        (_A.SPOOFED_USER_AGENT, _A.AUTOMATION, _A.REMOTE_BROWSER, _A.FRONT_OF_THE_OPERATOR),
    ),
    Rule(
        Reason.IMPOSSIBLE_OFFER,
        "the ClientHello is one that the browser of the User-Agent cannot send",
        lambda f: f.parts > 0,
        "The ClientHello is not one that this browser can send.",
        (
            _FRONT,
            Grade(Confidence.POSSIBLE, "another browser can send it", lambda f: f.another_browsers),
            Grade(
                Confidence.POSSIBLE,
                "the browser is a part of an application, whose own requests may name it",
                lambda f: f.is_embedded,
            ),
            Grade(Confidence.PROBABLE, "two independent parts of it are impossible", lambda f: f.parts > 1),
            Grade(Confidence.POSSIBLE),
        ),
        (_A.SPOOFED_USER_AGENT, _A.AUTOMATION, _A.REMOTE_BROWSER, _A.FRONT_OF_THE_OPERATOR),
    ),
    Rule(
        Reason.INTERCEPTOR_HEADER,
        "a request header that only interceptors add",
        lambda f: f.has_header,
        "The request has a header that browsers do not send and that a product adds to what it decrypts.",
        (Grade(Confidence.POSSIBLE),),
        (_A.AUTOMATION, _A.FRONT_OF_THE_OPERATOR),
    ),
)
"""Every rule that accuses, in the order in which they are read."""

NOTHING_SEEN: Final = Decision(Reason.NOTHING_SEEN, Verdict.NOTHING_SEEN)
"""What holds where no rule fits; it says nothing in anybody's favor."""


DECISIONS_REMEMBERED_MAX: Final = 1024
"""Combinations of facts whose decision is remembered: there are fewer."""


@functools.lru_cache(maxsize=DECISIONS_REMEMBERED_MAX)
def decide(facts: Facts) -> Decision:
    """Read the table. Equal facts give equal decisions, and most sessions show the same few."""
    order = list(Confidence)
    fired = [(rule, _graded(rule, facts)) for rule in TABLE if rule.holds(facts)]
    if not fired:
        return NOTHING_SEEN
    rule, confidence = max(fired, key=lambda one: order.index(one[1]))
    alternatives = () if confidence is Confidence.PROVEN else rule.alternatives
    if facts.nothing_in_between:
        alternatives = tuple(one for one in alternatives if one is not _A.FRONT_OF_THE_OPERATOR)
    return Decision(rule.reason, Verdict.MIDDLEWARE, confidence, alternatives)


def _graded(rule: Rule, facts: Facts) -> Confidence:
    return next(grade.confidence for grade in rule.grades if grade.holds(facts))
