"""What `detector data` says to people: rich renderables, which the caller prints.

Room: update. Pure. Nothing from a repository is treated as markup, and every name is escaped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from detector.model import Detail

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Mapping

    from rich.console import RenderableType

    from .run import Update
    from .status import Status
    from .verification import Verification


def of_update(done: Update, detail: Detail) -> RenderableType:
    """What an update did."""
    said = "Updated to" if done.installed else "Already the newest:"
    lines = [Text(f"{said} set {done.set}.", style="bold green")]
    if detail is not Detail.VERDICT:
        if done.installed:
            lines.append(Text(f"Changed: {', '.join(done.changed) or 'nothing but the signatures'}."))
        if done.vendors:
            lines.append(Text(f"With the pins of {', '.join(done.vendors)}."))
        lines.extend(_left_out(done.left_out))
    return Group(*lines)


def of_status(found: Status, detail: Detail) -> RenderableType:
    """What serves."""
    old = [part.file for part in found.parts if part.is_old]
    said = "No set is installed: what the package ships serves"
    if found.set or found.warnings:
        said = f"Set {found.set} is installed" if found.set else "No installed set can be used"
    lines: list[RenderableType] = [
        Text(f"{said}.", style="bold"),
        *(
            [Text(f"Past their horizon: {', '.join(old)}. Update them: detector data update", style="yellow")]
            if old
            else []
        ),
    ]
    if detail is Detail.VERDICT:
        return Group(*lines)
    table = Table(box=None, pad_edge=False)
    for title in ("Part", "Version", "Date", "Age", "Current until", "Origin"):
        table.add_column(title)
    for part in found.parts:
        age = "" if part.age_days is None else f"{part.age_days} d"
        style = "yellow" if part.is_old else ""
        cells = (part.file, part.version, str(part.date or ""), age, str(part.horizon or ""), part.origin)
        table.add_row(*(Text(cell) for cell in cells), style=style)
    lines.append(table)
    if found.repository:
        lines.append(Text(f"From {found.repository}, installed {found.installed_at:%Y-%m-%d %H:%M} UTC."))
    lines.extend(_left_out(found.left_out))
    lines.extend(Text(f"Left aside: {warning}", style="yellow") for warning in found.warnings)
    if detail is Detail.EVIDENCE:
        lines.append(Text(f"Folder: {found.folder}"))
    return Group(*lines)


def of_verification(found: Verification, detail: Detail, at: dt.datetime) -> RenderableType:
    """What was verified, with the age of each signature's metadata."""
    lines = [Text(f"Set {found.set} is what its publisher signed: {len(found.files)} files.", style="bold green")]
    if detail is not Detail.VERDICT:
        for role in found.roles:
            days = (at - role.expires).days
            age = f"expired {days} days ago" if days > 0 else f"current until {role.expires:%Y-%m-%d}"
            lines.append(Text(f"{role.role}, version {role.version}: {age}."))
    return Group(*lines)


def _left_out(left_out: Mapping[str, str]) -> Iterator[Text]:
    for path, why in left_out.items():
        yield Text(f"Left out: {path}. {why}", style="yellow")
