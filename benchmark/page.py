"""The tables of docs/performance.md, as Markdown or JSON. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .contenders import REFERENCE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .contenders import Absent
    from .memory import Held
    from .processes import Scaling
    from .rounds import Spread, Summary
    from .start import Start

BEGIN: Final = "<!-- measured: begin -->"
END: Final = "<!-- measured: end -->"


class PageError(ValueError):
    """A page without the two markers."""


class Measured(NamedTuple):
    """The results of one run of the benchmark."""

    command: str
    date: str
    rounds: int
    machine: dict[str, str]
    versions: dict[str, str]
    does: dict[str, str]
    rows: list[Summary]
    absent: list[Absent]
    held: list[Held]
    not_held: list[Absent]
    start: Start | None
    scaling: Sequence[Scaling] = ()


def inserted(page: str, tables: str) -> str:
    """Replace the tables between the markers of a page. Raises PageError."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise PageError(f"the page has no line {BEGIN!r} with {END!r} after it, so there is no place for the tables")
    return f"{before}{BEGIN}\n\n{tables.strip()}\n\n{END}{after}"


def tables(measured: Measured) -> str:
    """Return all results as Markdown."""
    parts = [_preface(measured), _cpu(measured)]
    if measured.held or measured.not_held:
        parts.append(_memory(measured))
    if measured.start is not None:
        parts.append(_start(measured.start))
    if measured.scaling:
        parts.append(_scaling(measured.scaling))
    parts.append(_versions(measured))
    return "\n\n".join(parts)


def _preface(measured: Measured) -> str:
    facts = "; ".join(f"{name}: {value}" for name, value in measured.machine.items())
    return f"Measured on {measured.date}, {measured.rounds} rounds, with `{measured.command}`. {facts}."


def _cpu(measured: Measured) -> str:
    head = (
        "contender",
        "CPU per probe, ms",
        f"ratio to `{REFERENCE}`",
        "probes/s per core",
        "start-up, ms",
        "p50 / p99, ms",
    )
    lines = ["### CPU of a probe", "", *_head((*head, "connections per probe", "what it does"))]
    for row in measured.rows:
        latency = "" if row.p50_ms is None or row.p99_ms is None else f"{row.p50_ms:.2f} / {row.p99_ms:.2f}"
        cells = [f"`{row.name}`", _spread(row.cpu_ms, 3), "" if row.ratio is None else _spread(row.ratio, 2)]
        cells += [f"{row.rate:,.0f}", f"{row.startup_ms:.0f}", latency, f"{row.connections:.0f}"]
        lines.append(_line([*cells, measured.does[row.name]]))
    lines += [_line([f"`{one.name}`", "not measured", "", "", "", "", "", _clean(one.why)]) for one in measured.absent]
    return "\n".join(lines)


def _memory(measured: Measured) -> str:
    numbers = sorted({one.connections for one in measured.held})
    lines = ["### Memory with handshakes in progress", ""]
    processes = {one.connections: one.processes for one in measured.held}
    shared = {number: f" in {parts} processes" for number, parts in processes.items() if parts > 1}
    lines += _head(["contender", *(f"{number:,} connections{shared.get(number, '')}, MiB" for number in numbers)])
    found = {(one.name, one.connections): one for one in measured.held}
    for name in dict.fromkeys(one.name for one in measured.held):
        held = [found.get((name, number)) for number in numbers]
        lines.append(_line([f"`{name}`", *("" if one is None else f"{one.mebibytes:,.0f}" for one in held)]))
    lines += ["", *(f"- `{one.name}` was not measured: {_clean(one.why)}" for one in measured.not_held)]
    return "\n".join(lines).rstrip()


def _start(start: Start) -> str:
    lines = ["### Exam start: eight endpoints over a relay that adds 50 ms", "", *_head(("what", "ms"))]
    rows: Iterable[tuple[str, Spread]] = (
        ("warm `check()`", start.check),
        ("floor: the same flights, no cryptography", start.floor),
        ("`check()` less the floor of its pair", start.difference),
        ("`detector check` from the start of its process to its end", start.cold),
        ("Python that does nothing, likewise", start.bare),
        ("`detector check` with an updated data set, likewise", start.updated),
        ("the same, less the run before it with what is shipped", start.update_costs),
        ("an updated data set in a fresh process: opened, every file hashed", start.opening),
        ("the same: every part of it read", start.loading),
    )
    lines += [_line([name, _spread(spread, 1)]) for name, spread in rows]
    lines += [
        "",
        "Phases in a fresh process that uses the library (medians; `check()` overlaps loading and waiting):",
        "",
    ]
    lines += _head(("phase", "ms")) + [_line([name, f"{value:.1f}"]) for name, value in start.phases.items()]
    lines += [
        "",
        "Time in imports of the command, by package (`-X importtime`, modules' own time; tracing makes it longer):",
    ]
    lines += ["", *_head(("package", "ms")), *(_line([f"`{name}`", f"{value:.1f}"]) for name, value in start.modules)]
    return "\n".join(lines)


def _scaling(found: Sequence[Scaling]) -> str:
    head = ("targets", "targets/s, 1 process", "2 processes", "ratio", "CPU per target, ms, 1 process", "2 processes")
    lines = ["### `detector scan --processes`, not pinned", "", *_head((*head, "ratio"))]
    for one in found:
        rates = [_spread(one.one_rate, 0), _spread(one.two_rate, 0), _spread(one.rate_ratio, 2)]
        cpus = [_spread(one.one_cpu_ms, 3), _spread(one.two_cpu_ms, 3), _spread(one.cpu_ratio, 2)]
        lines.append(_line([one.targets, *rates, *cpus]))
    return "\n".join(lines)


def _versions(measured: Measured) -> str:
    lines = ["### Versions", "", *_head(("contender", "version"))]
    return "\n".join([*lines, *(_line([f"`{name}`", value]) for name, value in measured.versions.items())])


def _head(cells: Sequence[str]) -> list[str]:
    return [_line(cells), "|" + "---|" * len(cells)]


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _spread(spread: Spread, digits: int) -> str:
    """Format the median, and minimum and maximum in brackets."""
    return f"**{spread.median:.{digits}f}** ({spread.least:.{digits}f}–{spread.most:.{digits}f})"  # noqa: RUF001 - the en dash of a range of numbers, in text for people


def _clean(text: str) -> str:
    """Return text for one cell."""
    return " ".join(text.replace("|", "/").split())


def as_json(measured: Measured) -> Mapping[str, Any]:
    """Return all results as values for JSON."""
    printed: dict[str, Any] = _plain(measured)
    return printed


def _plain(value: Any) -> Any:  # noqa: ANN401 - any record or container in, any JSON value out: there is no narrower common type
    if hasattr(value, "_asdict"):
        return {name: _plain(inner) for name, inner in value._asdict().items()}
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
