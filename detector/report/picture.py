"""Where the boxes of a chain picture go: what was presented beside what was to be expected.

Room: report. Pure: certificates in, coordinates and words out; the template draws them as SVG. Everything in a
certificate is somebody else's text: it is cut to what fits, and escaped by the template like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from detector.model import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.model import PresentedCertificate, Result

BOX_WIDTH: Final = 350
BOX_HEIGHT: Final = 66
GAP: Final = 30
"""Between boxes of one column, in units of the picture: room for an arrow and its label."""
COLUMN_GAP: Final = 40
HEAD: Final = 30
"""Height of a column's title."""
LINE_CHARACTERS: Final = 44
"""What fits a box's width in the picture's type size."""
PIN_CHARACTERS: Final = 30
"""Characters of a pin written into a box: base64 is wide, and the findings have it whole."""
BOXES_MOST: Final = 8
"""Certificates drawn; genuine chains have up to five. The list under the picture has them all."""
PINS_MOST: Final = 3
"""Pins written into the picture; the findings have them all."""


class Box(NamedTuple):
    """One certificate or one remark. `kind` is its class in the style sheet, `full` what a pointer shows."""

    x: int
    y: int
    kind: str
    title: str
    lines: tuple[str, ...]
    full: str


class Arrow(NamedTuple):
    """From a certificate up to what signed it, as far as it says itself."""

    x: int
    y1: int
    y2: int
    label: str
    kind: str


class Picture(NamedTuple):
    """A picture: its size, boxes, arrows, titles of columns (x, text), and the same in words for who cannot see it."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    titles: tuple[tuple[int, str], ...]
    words: str


class _Entry(NamedTuple):
    kind: str
    title: str
    lines: tuple[str, ...]
    full: str
    link: str
    link_kind: str = "arrow"


def draw(result: Result, reference: Result | None = None, reference_vantage: str = "") -> Picture | None:
    """The picture for one result; None when no certificate was seen.

    `reference` is a clean result for the same endpoint from another vantage: then that is what was to be expected.
    """
    if not result.observation.chain:
        return None
    columns = [("Presented here", _presented(result))]
    if result.verdict is not Verdict.CLEAN:
        if reference is not None:
            where = f" ({reference_vantage})" if reference_vantage else ""
            columns.append((_cut(f"Presented elsewhere{where}"), _presented(reference)))
        else:
            columns.append(("Expected", _expected(result)))
    tallest = max(len(entries) for _, entries in columns)
    boxes: list[Box] = []
    arrows: list[Arrow] = []
    for number, (_, entries) in enumerate(columns):
        x = number * (BOX_WIDTH + COLUMN_GAP)
        for place, entry in enumerate(entries):
            # The leaf stands at the bottom, on one line in both columns.
            y = HEAD + (tallest - 1 - place) * (BOX_HEIGHT + GAP)
            boxes.append(Box(x, y, entry.kind, entry.title, entry.lines, entry.full))
            if place + 1 < len(entries):
                arrows.append(Arrow(x + BOX_WIDTH // 2, y, y - GAP, entry.link, entry.link_kind))
    return Picture(
        width=len(columns) * BOX_WIDTH + (len(columns) - 1) * COLUMN_GAP,
        height=HEAD + tallest * BOX_HEIGHT + (tallest - 1) * GAP,
        boxes=tuple(boxes),
        arrows=tuple(arrows),
        titles=tuple((n * (BOX_WIDTH + COLUMN_GAP), title) for n, (title, _) in enumerate(columns)),
        words=" ".join(
            f"{title}, from the server up: {'; '.join(f'{e.title}: {e.full}' for e in entries)}."
            for title, entries in columns
        ),
    )


def _presented(result: Result) -> list[_Entry]:
    chain = result.observation.chain
    pinned = {f.data.get("pin") for f in result.findings if f.check == "pin" and f.outcome in {"leaf", "path"}}
    entries = [_certificate(at, chain, pinned) for at in range(min(len(chain), BOXES_MOST))]
    if len(chain) > BOXES_MOST:
        more = f"{len(chain) - BOXES_MOST} more"
        entries.append(_Entry("remark", "Not drawn", (more,), more, ""))
    top = _top(result)
    if top is not None:
        if top.kind == "bad":
            entries[-1] = entries[-1]._replace(link="leads no further", link_kind="arrow broken")
        entries.append(top)
    return entries


def _certificate(at: int, chain: Sequence[PresentedCertificate], pinned: set[str | None]) -> _Entry:
    certificate = chain[at]
    subject = certificate.subject or "(no readable subject)"
    key = certificate.spki_sha256
    validity = ""
    if certificate.not_before and certificate.not_after:
        validity = f"valid {certificate.not_before:%Y-%m-%d} to {certificate.not_after:%Y-%m-%d}"
    is_pinned = key is not None and any(pin is not None and _same(pin, key) for pin in pinned)
    title = "Server certificate" if at == 0 else f"Certificate {at}"
    above = chain[at + 1] if at + 1 < len(chain) else None
    continues = above is None or (certificate.issuer is not None and certificate.issuer == above.subject)
    return _Entry(
        kind=("leaf" if at == 0 else "issuer") + (" pinned" if is_pinned else ""),
        title=title + (" - key is pinned" if is_pinned else ""),
        lines=(_cut(subject), _cut(f"key {key[:16]}…" if key else "key unreadable"), _cut(validity)),
        full=f"{subject}, issued by {certificate.issuer or '(unreadable)'}",
        link="says it is issued by" if continues else "is not issued by",
        link_kind="arrow" if continues else "arrow broken",
    )


def _same(pin: str, spki_sha256: str) -> bool:
    import base64  # noqa: PLC0415 - only where something is pinned

    return pin == "sha256/" + base64.b64encode(bytes.fromhex(spki_sha256)).decode("ascii")


def _top(result: Result) -> _Entry | None:
    """What stands above the presented certificates: where a verified path ends, or that none does."""
    for finding in result.findings:
        if finding.check == "public-path" and finding.outcome == "found":
            label = ", ".join(map(str, finding.data.get("roots", ())))
            return _Entry("root", "Public root", (_cut(label),), label, "")
    for finding in result.findings:
        if finding.check == "machine-root":
            label = str(finding.data.get("root"))
            return _Entry("bad", "Root added to this machine", (_cut(label), "not a public one"), label, "")
    for finding in result.findings:
        if finding.check == "declared-root" and finding.outcome == "path":
            return _Entry("root", "Declared private root", (_cut(finding.summary),), finding.summary, "")
    if any(f.check == "public-path" for f in result.findings):
        return _Entry("bad", "No public root", ("no signature leads to one",), "no signature leads to one", "")
    return None


def _expected(result: Result) -> list[_Entry]:
    entries: list[_Entry] = []
    pins = next((f.data.get("pins", ()) for f in result.findings if f.check == "pin" and f.outcome == "mismatch"), ())
    roots = next((f.data.get("expected", ()) for f in result.findings if f.check == "expected-root"), ())
    name = result.endpoint.host
    if pins:
        shown = tuple(f"{str(pin)[:PIN_CHARACTERS]}…" for pin in pins[:PINS_MOST])
        title = "The pinned key" if len(pins) == 1 else f"One of {len(pins)} pinned keys"
        entries.append(_Entry("pinned", title, shown, ", ".join(map(str, pins)), "here, or in a CA above"))
    else:
        entries.append(
            _Entry("leaf", "Server certificate", (_cut(f"for {name}"), "publicly logged"), name, "issued by")
        )
    label = ", ".join(map(str, roots)) or "any public root"
    entries.append(_Entry("root", "Public root", (_cut(label),), label, ""))
    return entries


def _cut(text: str) -> str:
    return text if len(text) <= LINE_CHARACTERS else text[: LINE_CHARACTERS - 1] + "…"
