"""Layout of the pictures: the route from this device to the server with where TLS ends, and the presented chain.

Room: report. Pure: results in, coordinates and texts out; the template draws them as SVG. A picture is one column, so
that it is as legible on a phone and on paper as on a screen; the expected chain is a picture next to the presented one.
Everything in a certificate is its issuer's text: it is cut to fit, and escaped by the template like any other. The
picture of an uncertain result names nobody and contains no red.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from detector.judge import wording
from detector.judge.checks import chain, expected_root, pin
from detector.model import Locality, Verdict
from detector.model.endpoint import encode_pin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.model import Result

BOX_WIDTH: Final = 350
BOX_HEIGHT: Final = 66
GAP: Final = 30
"""Between boxes, in units of the picture: room for an arrow and its label."""
ARROW_X: Final = 30
"""Where arrows are: far to the left, so that their labels fit to the right of them."""
TIP: Final = (5, 8)
"""Half the width and the length of an arrow's tip."""
HEAD: Final = 30
"""Height of a column's title."""
LINE_CHARACTERS: Final = 44
"""Characters that fit a box's width in the picture's type size."""
PIN_CHARACTERS: Final = 30
"""Characters of a pin in a box: base64 is wide, and the findings have it in full."""
BOXES_MOST: Final = 8
"""Certificates drawn; genuine chains have up to five. The list below the picture has them all."""
PINS_MOST: Final = 3
"""Pins in the picture; the findings have them all."""


class Box(NamedTuple):
    """One certificate, party or remark; `kind` is its class in the style sheet, `link` the label of its arrow."""

    kind: str
    title: str
    lines: tuple[str, ...]
    full: str
    link: str
    link_kind: str = "arrow"
    y: int = 0


class Arrow(NamedTuple):
    """From a box to the next one. `tip` are the points of its tip; an arrow that leads no further has none."""

    x: int
    y1: int
    y2: int
    label: str
    kind: str
    tip: str


class Picture(NamedTuple):
    """One column: its size, title, boxes and arrows, and a text equivalent."""

    width: int
    height: int
    title: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    words: str


def chains(result: Result, reference: Result | None = None, reference_vantage: str = "") -> list[Picture]:
    """The presented chain, and the expected one unless all is clean; empty if no certificate was presented.

    `reference` is a clean result for the same endpoint from another vantage, used as the expected chain.
    """
    if not result.observation.chain:
        return []
    drawn = [_upwards("Presented here", _presented(result))]
    if result.verdict is not Verdict.CLEAN:
        if reference is not None:
            where = f" ({reference_vantage})" if reference_vantage else ""
            drawn.append(_upwards(_cut(f"Presented elsewhere{where}"), _presented(reference)))
        else:
            drawn.append(_upwards("Expected", _expected(result)))
    return drawn


PLACE: Final[dict[Locality, str]] = {
    Locality.THIS_DEVICE: "on this device",
    Locality.CONFIGURED_PROXY: "at the proxy that is set on this device",
    Locality.NETWORK: "on the network",
    Locality.UNKNOWN: "somewhere on the route",
}
"""Where TLS ends, as the attribution says."""


def route(tone: str, servers: str, between: Sequence[str] = ()) -> Picture:
    """The route from this device to `servers`, by the tone of the verdict.

    `between` is what TLS ends at, or may end at: a title and lines; without it, TLS goes from end to end as far as can
    be seen.
    """
    kind = {"clean": "root", "intercepted": "bad", "uncertain": "doubtful"}[tone]
    device = Box("issuer", "This device", ("where this was checked",), "", "TLS connection")
    if between:
        title, *lines = between
        stop = Box(kind, title, tuple(map(_cut, lines)), "", "another connection, not seen here", _BROKEN[kind])
        stops = [device, stop, Box("issuer", "Server", (_cut(servers),), "", "")]
        words = f"{title}: {', '.join(lines)}. What goes on to {servers} is another connection, not seen here."
    else:
        link = "one TLS connection, as far as can be seen"
        stops = [device._replace(link=link), Box(kind, "Server", (_cut(servers),), "", "")]
        words = f"One TLS connection from this device to {servers}, as far as can be seen."
    return _column(stops, [place * (BOX_HEIGHT + GAP) for place in range(len(stops))], "", words)


def _upwards(title: str, entries: Sequence[Box]) -> Picture:
    """A chain: the server's certificate at the bottom, every issuer above what it issued."""
    last = len(entries) - 1
    words = f"{title}, from the server up: {'; '.join(f'{entry.title}: {entry.full}' for entry in entries)}."
    return _column(entries, [HEAD + (last - at) * (BOX_HEIGHT + GAP) for at in range(len(entries))], title, words)


def _column(entries: Sequence[Box], tops: Sequence[int], title: str, words: str) -> Picture:
    boxes = [entry._replace(y=y) for entry, y in zip(entries, tops, strict=True)]
    x, (half, length) = ARROW_X, TIP
    arrows = []
    for entry, y, following in zip(entries, tops, tops[1:], strict=False):  # the last one has no arrow
        up = following < y
        start, end = (y, y - GAP) if up else (y + BOX_HEIGHT, y + BOX_HEIGHT + GAP)
        base = end + length if up else end - length
        tip = f"{x - half},{base} {x},{end} {x + half},{base}" if entry.link_kind == "arrow" else ""
        arrows.append(Arrow(x, start, end, entry.link, entry.link_kind, tip))
    return Picture(BOX_WIDTH, max(tops) + BOX_HEIGHT, title, tuple(boxes), tuple(arrows), words)


def _presented(result: Result) -> list[Box]:
    presented = result.observation.chain
    pinned = {f.data.get("pin") for f in result.findings if f.check == pin.ID and f.outcome in _MATCHES}
    entries = [_certificate(at, result, pinned) for at in range(min(len(presented), BOXES_MOST))]
    if len(presented) > BOXES_MOST:
        more = f"{len(presented) - BOXES_MOST} more"
        entries.append(Box("remark", "Not drawn", (more,), more, ""))
    top = _top(result)
    if top is not None:
        if top.kind in _BROKEN:
            entries[-1] = entries[-1]._replace(link="leads no further", link_kind=_BROKEN[top.kind])
        entries.append(top)
    return entries


_MATCHES: Final = frozenset({pin.Outcome.LEAF, pin.Outcome.LEAF_NOT_ITS_OWN, pin.Outcome.CA, pin.Outcome.PATH})
_BROKEN: Final = {"bad": "arrow broken", "doubtful": "arrow open", "remark": "arrow open"}
"""The arrow to a box of this kind."""
_NOT_PUBLIC: Final = {"intercepted": "bad", "uncertain": "doubtful", "clean": "remark"}
"""The kind of box for a chain that does not end as expected, by the tone of the verdict."""


def _certificate(at: int, result: Result, pinned: set[str | None]) -> Box:
    presented, names = result.observation.chain, not wording.is_uncertain(result)
    certificate = presented[at]
    key = certificate.spki_sha256
    validity = ""
    if certificate.not_before and certificate.not_after:
        validity = f"valid {certificate.not_before:%Y-%m-%d} to {certificate.not_after:%Y-%m-%d}"
    is_pinned = key is not None and encode_pin(bytes.fromhex(key)) in pinned
    above = presented[at + 1] if at + 1 < len(presented) else None
    continues = above is None or (certificate.issuer is not None and certificate.issuer == above.subject)
    subject = certificate.subject or "(no readable subject)"
    lines = (_cut(f"key {key[:16]}…" if key else "key unreadable"), _cut(validity))
    return Box(
        kind=("leaf" if at == 0 else "issuer") + (" pinned" if is_pinned else ""),
        title=("Server certificate" if at == 0 else f"Certificate {at}") + (" - key is pinned" if is_pinned else ""),
        lines=(_cut(subject), *lines) if names else lines,
        full=f"{subject}, issued by {certificate.issuer or '(unreadable)'}" if names else ", ".join(lines),
        link="says it is issued by" if continues else "is not issued by",
        link_kind="arrow" if continues else _BROKEN[_NOT_PUBLIC[wording.tone(result.verdict, result.confidence)]],
    )


_TOP: Final[dict[str, tuple[bool, str, str]]] = {
    chain.Outcome.ACCEPTED: (True, "Public root", ""),
    chain.Outcome.DECLARED: (True, "Declared private root", ""),
    chain.Outcome.RETIRED: (True, "Retired root", "a date keeps it from being taken"),
    chain.Outcome.DEFECTIVE: (False, "Public root", "by a path that no client accepts"),
    chain.Outcome.ADDED: (False, "Root added to this machine", "not a public one"),
    chain.Outcome.UNFAMILIAR: (False, "Unfamiliar root", "trusted here, not known as public"),
    chain.Outcome.UNREADABLE: (False, "Unverifiable", "signed in a way that is not readable here"),
    chain.Outcome.INCOMPLETE: (False, "Issuer missing", "it was not presented"),
    chain.Outcome.PRIVATE: (False, "No public root", "no signature leads to one"),
}
"""The box above the chain for each class: whether the chain leads to it unbroken, a title and a remark."""


def _top(result: Result) -> Box | None:
    """The box above the presented certificates: where a verified path ends, or that none does."""
    found = next((f for f in result.findings if f.check == chain.ID and f.outcome in _TOP), None)
    if found is None:
        return None
    leads, title, remark = _TOP[found.outcome]
    label = ", ".join(map(str, wording.data(found, result).get("roots", ())))
    kind = "root" if leads else _NOT_PUBLIC[wording.tone(result.verdict, result.confidence)]
    lines = tuple(filter(None, (label, remark)))
    return Box(kind, title, tuple(map(_cut, lines)), ", ".join(lines) or title, "")


def _expected(result: Result) -> list[Box]:
    entries: list[Box] = []
    mismatch = (f for f in result.findings if f.check == pin.ID and f.outcome == pin.Outcome.MISMATCH)
    pins = next((f.data.get("pins", ()) for f in mismatch), ())
    roots = next((f.data.get("expected", ()) for f in result.findings if f.check == expected_root.ID), ())
    name = result.endpoint.host
    if pins:
        shown = tuple(f"{str(pin)[:PIN_CHARACTERS]}…" for pin in pins[:PINS_MOST])
        title = "The pinned key" if len(pins) == 1 else f"One of {len(pins)} pinned keys"
        entries.append(Box("pinned", title, shown, ", ".join(map(str, pins)), "here, or in a CA above"))
    else:
        entries.append(Box("leaf", "Server certificate", (_cut(f"for {name}"), "publicly logged"), name, "issued by"))
    label = ", ".join(map(str, roots)) or "any public root"
    entries.append(Box("root", "Public root", (_cut(label),), label, ""))
    return entries


def _cut(text: str) -> str:
    return text if len(text) <= LINE_CHARACTERS else text[: LINE_CHARACTERS - 1] + "…"
