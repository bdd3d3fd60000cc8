"""What `detector outbox` says to people: rich renderables, which the caller prints.

Room: outbox. Pure. Nothing from a collector is treated as markup.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from detector.model import Detail

if TYPE_CHECKING:
    from rich.console import RenderableType

    from .sender import Sending
    from .store import Listing, Status

_CAUSES = {
    "age": "too old",
    "space": "no space",
    "busy": "more at once than the disk took",
    "asked": "on request",
}


def of_status(found: Status, detail: Detail) -> RenderableType:
    """What is in an outbox."""
    since = "" if found.oldest is None else f", the oldest since {found.oldest:%Y-%m-%d %H:%M} UTC"
    lines = [Text(f"{found.waiting} report(s) wait{since}.", style="bold")]
    if found.tried_again is not None and found.waiting:
        lines.append(Text(f"The collector is tried again at {found.tried_again:%Y-%m-%d %H:%M} UTC."))
    lines += [Text(f"Refused ({one.reason}): {one.count}.", style="yellow") for one in found.refused]
    if found.damaged:
        lines.append(Text(f"Damaged: {found.damaged}.", style="yellow"))
    lines += [Text(f"Dropped ({_CAUSES[cause]}): {count}.", style="yellow") for cause, count in found.dropped.items()]
    if detail is not Detail.VERDICT:
        lines.append(Text(f"{found.bytes / 1024:.0f} KiB in {found.folder}"))
    return Group(*lines)


def of_listing(found: Listing, detail: Detail) -> RenderableType:
    """The reports of an outbox."""
    if not found.reports:
        return Text("No reports.")
    shown = Table(box=None, pad_edge=False)
    for title in ("Made", "Kind", "State", "For", "Digest"):
        shown.add_column(title)
    for one in found.reports:
        digest = one.digest if detail is Detail.EVIDENCE else f"{one.digest[:16]}..."
        cells = (f"{one.made:%Y-%m-%d %H:%M}", one.kind, one.state, one.to, digest)
        shown.add_row(*(Text(cell) for cell in cells))
    return shown


def sentence(done: Sending) -> str:
    """What became of what waited."""
    if done.busy:
        return "Another process is sending."
    said = f"Sent {done.received} report(s)"
    refused = f", {done.refused} refused" if done.refused else ""
    return f"{said}{refused}; the rest waits: {done.problem}." if done.problem else f"{said}{refused}."
