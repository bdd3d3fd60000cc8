r"""Checks that a pattern of the catalogue takes linear time on every value, before it is ever matched.

Room: knowledge. Pure.

An updated catalogue brings patterns, and `re` backtracks: some take exponential time on a value that somebody else
chose. So a pattern is a small part of what `re` reads:

* Characters, `\d`, `\s`, `\S`, `.`, escaped punctuation, and sets like `[a-z0-9\-]`.
* Groups with alternatives, `(a|b)`, which may be optional, `(a|b)?`, and are never repeated.
* `?`, `{m,n}`, and at most one of `*`, `+`, `{m,}` in the whole pattern, after one character or set.
* `^` and `$`; `(?i)` at the start; `(?!a|b)`, what must not follow, of characters alone.

With a repetition without an end it must begin with `^`. Then the only choice that grows with the value is where that
repetition ends, and `re` tries each of the other choices at most once for it: `CHOICES_MAX` bounds their product.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PATTERN_CHARACTERS_MAX: Final = 256
"""Characters of a pattern; the longest shipped one has 171."""
CHOICES_MAX: Final = 128
"""The product of the choices in a pattern: ends of a bounded repetition, alternatives, optional parts. The largest
shipped one has 98, with the 16 to 64 digits of a serial number."""

_TOKEN: Final = re.compile(
    r"""
    (?P<atom> \\[dsS] | \\[^\w\s] | [^\\()\[\]{}|?*+^$]
        | \[ \^? (?: \\[ds] | \\[^\w\s] | [0-9A-Za-z]-[0-9A-Za-z] | [^\[\]\\^&|~-] )+ \] )
    | (?P<edge> [\^$] )
    | (?P<fold> \(\?i\) )
    | (?P<not> \(\?! )
    | (?P<open> \( (?!\?) )
    | (?P<close> \) )
    | (?P<or> \| )
    | (?P<endless> [*+] | \{ \d{1,3} ,\} )
    | (?P<maybe> \? )
    | (?P<counted> \{ \d{1,3} (?: , \d{1,3} )? \} )
    """,
    re.VERBOSE,
)
_RANGE: Final = re.compile("([0-9A-Za-z])-([0-9A-Za-z])")
_BEFORE: Final = {"endless": ("atom",), "counted": ("atom",), "maybe": ("atom", "close"), "fold": ("",)}
"""The tokens that may stand before these."""
_INSIDE_NOT: Final = frozenset({"atom", "or", "close"})
"""The tokens within `(?!…)`."""


def check(pattern: str) -> None:
    """Raise ValueError, with the reason in one clause, for a pattern that is not of this form.

    What passes, `re` compiles: nothing has to be compiled before it is needed.
    """
    if len(pattern) > PATTERN_CHARACTERS_MAX:
        raise ValueError(f"a pattern has at most {PATTERN_CHARACTERS_MAX} characters")
    tokens = list(_tokens(pattern))
    choices, *inner = _alternatives(kind for kind, _ in tokens)
    endless = sum(kind == "endless" for kind, _ in tokens)
    counted = [_counts(text) for kind, text in tokens if kind == "counted"]
    optional = sum(kind == "maybe" for kind, _ in tokens)
    if endless > 1 or math.prod((choices, *inner, *counted)) << optional > CHOICES_MAX:
        raise ValueError("a pattern has more choices than take linear time")
    if endless and (choices > 1 or not pattern.removeprefix("(?i)").startswith("^")):
        raise ValueError("a pattern with a repetition without an end begins with ^ and has no alternative to that")


def _tokens(pattern: str) -> Iterator[tuple[str, str]]:
    """The kinds and texts of the tokens of a pattern."""
    at, last = 0, ""
    while at < len(pattern):
        found = _TOKEN.match(pattern, at)
        kind = found.lastgroup if found else None
        if found is None or kind is None or last not in _BEFORE.get(kind, (last,)):
            raise ValueError(f"character {at + 1} of the pattern begins something that patterns may not have")
        if kind == "atom" and any(first > last for first, last in _RANGE.findall(found[0])):
            raise ValueError(f"the set at character {at + 1} of the pattern has a range that is empty")
        yield kind, found[0]
        at, last = found.end(), kind


def _alternatives(kinds: Iterable[str]) -> list[int]:
    """The number of alternatives of the whole pattern, then of each group."""
    done, groups, counts = [], [""], [1]
    for kind in kinds:
        if groups[-1] == "not" and kind not in _INSIDE_NOT:
            raise ValueError("what must not follow is of characters alone")
        if kind in ("open", "not"):
            groups.append(kind)
            counts.append(1)
        elif kind == "or":
            counts[-1] += 1
        elif kind == "close":
            groups.pop()
            done.append(counts.pop())
            if not groups:
                raise ValueError("a group is closed that was not opened")
    if len(groups) > 1:
        raise ValueError("a group is not closed")
    return [*counts, *done]


def _counts(text: str) -> int:
    """How many counts `{m,n}` leaves to choose from."""
    least, _, most = text.strip("{}").partition(",")
    if int(most or least) < int(least):
        raise ValueError("a repetition has more at least than at most")
    return int(most or least) - int(least) + 1
