"""Follows logs: reads what they added, verifies it, and reports the certificates whose keys nobody here knows.

Room: ct. Reads through `source`, remembers in `state`; the clock is an argument.

For every log, in each pass:

1. the checkpoint, signed by the log's key; its tree never shrinks;
2. the edge of its tree (`tiles`), which hashes to the signed root;
3. the root of the tree that was seen last, calculated from tiles of the new one: both are the same history;
4. every entry from where the last pass ended: a data tile's entries hash to the tile of leaves, which hashes up to the
   edge.

The position advances when a step has been verified, never before. A log that fails is reported; others go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import hashlib
import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from detector.aio.bounded_map import for_each
from detector.trust.certificate import CERTIFICATE_BYTES_MAX, Certificate

from . import findings, notes, tiles
from .entries import TILE_BYTES_MAX, EntryError, read_tile
from .findings import Finding, FindingKind, LogName, LogProblem
from .source import inflated
from .state import Position
from .tiles import TILE_BYTES, WIDTH, Tile

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from .entries import Entry
    from .matching import Match, Watched
    from .notes import Checkpoint
    from .source import Source
    from .state import State

LOG: Final = logging.getLogger("detector.ct")

LOGS_AT_ONCE: Final = 4
"""Logs that are read at the same time: each may take 150 MiB of memory for the largest tile, and ten usual tiles a
second."""
TURN_SECONDS: Final = 300.0
"""Seconds of reading after which a log lets others go first, and goes on afterwards: a log can sign a tree that nobody
reads to its end. As long as one usually waits between two readings."""
STALE_AFTER: Final = dt.timedelta(hours=25)
"""Age of a checkpoint that is too old: logs sign one at least once in their maximum merge delay (RFC 6962 section 3),
which is a day for all of them. An hour allows for clocks."""
SAVE_SECONDS: Final = 2.0
"""Seconds of reading that a kill may cost. What is read again then had no findings."""
UNREADABLE_MAX: Final = 100
"""Entries of one log that are reported as unreadable in one run; more are counted. Their content is their sender's."""
ISSUERS_CACHED: Final = 512
"""Issuers kept: a few hundred issue all publicly trusted certificates."""


class FollowedLog(NamedTuple):
    """A log, its key (DER SubjectPublicKeyInfo), and where its files are."""

    name: LogName
    key: bytes
    source: Source


@dataclass
class Summary:
    """What was found since the beginning: numbers, and the present problem of each log that has one."""

    entries: int = 0
    found: Counter[FindingKind] = field(default_factory=Counter)
    problems: dict[str, LogProblem] = field(default_factory=dict)


class _FailureError(Exception):
    """A log could not be followed to its end."""

    def __init__(self, problem: LogProblem, detail: str = "", checkpoint: str | None = None) -> None:
        super().__init__(detail)
        self.problem = problem
        self.detail = detail
        self.checkpoint = checkpoint


class Tree:
    """The verified tiles of one tree head, read from a source when needed. Raises `_FailureError`."""

    def __init__(self, source: Source, size: int, root: bytes) -> None:
        self._source = source
        self._size = size
        self._root = root
        self._edge: dict[Tile, list[bytes]] = {}
        self._upper: dict[Tile, list[bytes]] = {}

    async def verify(self) -> None:
        """Read the edge, and check that it hashes to the root."""
        for tile in tiles.edge(self._size):
            self._edge[tile] = await self._read(tile)
        if tiles.root(self._edge, self._size) != self._root:
            raise _FailureError(LogProblem.WRONG_HASH, "its tiles do not hash to its root")

    async def root_at(self, size: int) -> bytes:
        """The root of the first `size` entries of this tree."""
        hashes = {tile: (await self.hashes(tile.level, tile.number))[: tile.width] for tile in tiles.edge(size)}
        return tiles.root(hashes, size)

    async def hashes(self, level: int, index: int) -> list[bytes]:
        """The hashes of a tile."""
        for tile, hashes in self._edge.items():
            if (tile.level, tile.number) == (level, index):
                return hashes
        tile = Tile(level, index)
        if (known := self._upper.get(tile)) is not None:
            return known
        hashes = await self._read(tile)
        above, place, within = tiles.parent(tile)
        if tiles.perfect_root(hashes) != (await self.hashes(above, place))[within]:
            raise _FailureError(LogProblem.WRONG_HASH, f"{tile.path} does not hash to the tile above it")
        if level:  # of leaves each is used once
            self._upper = {**self._upper, tile: hashes} if len(self._upper) < WIDTH else {tile: hashes}
        return hashes

    async def _read(self, tile: Tile) -> list[bytes]:
        """A tile that is not verified yet; the whole one where the log no longer has the partial one."""
        for wanted in dict.fromkeys((tile, tile.whole)):
            data = await self._source.read(wanted.path, TILE_BYTES)
            size = wanted.width * tiles.ROOT_BYTES
            if data is not None and len(data) != size:
                data = inflated(data, size)
                if data is None or len(data) != size:
                    raise _FailureError(LogProblem.MALFORMED, f"{wanted.path} is not a tile")
            if data is not None:
                return tiles.split(data)[: tile.width]
        raise _FailureError(LogProblem.UNREACHABLE, tile.path)


@dataclass(kw_only=True)
class Monitor:
    """Follows some logs for some hosts.

    `clock` gives the time in UTC. `start` is the entry to begin with in a log that the state does not know, None for
    the end. `line` makes a line of a finding; `note` is called with sentences on what is covered.
    """

    logs: Sequence[FollowedLog]
    watched: Watched
    state: State
    clock: Callable[[], dt.datetime]
    line: Callable[[Finding], str]
    note: Callable[[str], None]
    start: int | None = None
    summary: Summary = field(default_factory=Summary)

    def __post_init__(self) -> None:
        """Start with what a program that was killed had found."""
        self.summary.found.update(self.state.recovered)
        self._issuers: dict[bytes, Certificate] = {}
        self._saved_at = 0.0
        self._unreadable: Counter[str] = Counter()
        self._unfinished: set[str] = set()

    async def run(self, *, interval: float | None, stop: asyncio.Event) -> Summary:
        """Read what the logs have, once; or again after every `interval` seconds until `stop` is set.

        Raises `OutputError`.
        """
        logs = self.logs
        try:
            while True:
                self._unfinished.clear()
                await for_each(logs, lambda log: self._follow(log, stop), limit=LOGS_AT_ONCE)
                self.state.save()
                if self._unfinished and not stop.is_set():
                    if interval is None:
                        logs = [log for log in logs if log.name.id in self._unfinished]
                    continue
                if interval is None or stop.is_set():
                    return self.summary
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(interval):
                        await stop.wait()
                if stop.is_set():
                    return self.summary
        finally:
            for log in self.logs:
                await log.source.close()

    async def _follow(self, log: FollowedLog, stop: asyncio.Event) -> None:
        """Read one log to its end, or report why that is not possible."""
        try:
            await self._read_log(log, stop)
        except _FailureError as error:
            self._fail(log, error)
        else:
            if self.summary.problems.pop(log.name.id, None) is not None:
                self.note(f"{log.name.name} can be followed again.")
        finally:
            await log.source.close()

    def _fail(self, log: FollowedLog, error: _FailureError) -> None:
        """Report a problem, once as long as it lasts."""
        if self.summary.problems.get(log.name.id) is error.problem:
            return
        self.summary.problems[log.name.id] = error.problem
        known = self.state.positions.get(log.name.id)
        shown = str(findings.shown(error.detail))
        identifier = hashlib.sha256(f"{log.name.id} {error.problem} {self.clock().isoformat()}".encode()).hexdigest()
        where = f" It was read up to entry {known.next} of {known.size}." if known else ""
        self._write(
            [
                Finding(
                    kind=FindingKind.LOG,
                    id=identifier,
                    at=self.clock(),
                    summary=f"{log.name.name} {findings.WORDS[error.problem]}: {shown}.{where}",
                    log=log.name,
                    problem=error.problem,
                    checkpoint=error.checkpoint,
                    earlier=known.note if known and error.checkpoint else None,
                )
            ]
        )

    def _write(self, found: Sequence[Finding]) -> None:
        """Write what was not written before: the same certificate is in several logs."""
        found = [one for one in {one.id: one for one in found[::-1]}.values() if not self.state.was_reported(one.id)][
            ::-1
        ]
        if not found:
            return
        self.summary.found.update(finding.kind for finding in found)
        lines = "".join(f"{self.line(finding)}\n" for finding in found)
        identifiers = [finding.id for finding in found if finding.kind is not FindingKind.LOG]
        self.state.report(lines, identifiers, [finding.kind for finding in found])

    async def _read_log(self, log: FollowedLog, stop: asyncio.Event) -> None:
        checkpoint = await self._checkpoint(log)
        known = self.state.positions.get(log.name.id)
        if known is not None and checkpoint.size < known.size:
            what = f"{checkpoint.size} entries after {known.size}, as a cache in between may cause"
            raise _FailureError(LogProblem.SHRUNK, what, checkpoint.note)
        tree = Tree(log.source, checkpoint.size, checkpoint.root)
        if known is None or checkpoint.size > known.size:
            await tree.verify()
        if known is not None:
            same = checkpoint.root if checkpoint.size == known.size else await tree.root_at(known.size)
            if same != known.root:
                what = f"at {known.size} entries the roots differ; both are signed"
                raise _FailureError(LogProblem.SPLIT_VIEW, what, checkpoint.note)
        following = known.next if known else self._first(log, checkpoint.size)
        self.state.positions[log.name.id] = Position(
            size=checkpoint.size, root=checkpoint.root, note=checkpoint.note, next=following
        )
        if known is not None and checkpoint.size == known.size and following < checkpoint.size:
            await tree.verify()
        odd = await self._read_entries(log, tree, stop)
        if odd is not None:
            raise _FailureError(LogProblem.MISNUMBERED, f"entry {odd.number} says that it is {odd.claimed}")
        at = checkpoint.at
        if at is not None and self.clock() - at > STALE_AFTER:
            raise _FailureError(LogProblem.STALE, f"it is of {at:%Y-%m-%d %H:%M} UTC", checkpoint.note)

    def _first(self, log: FollowedLog, size: int) -> int:
        """The first entry to read of a log that is new here."""
        first = size if self.start is None else min(self.start, size)
        self.note(f"{log.name.name} is followed from entry {first}; what it had before is not read.")
        return first

    async def _checkpoint(self, log: FollowedLog) -> Checkpoint:
        data = await log.source.read("checkpoint", notes.NOTE_BYTES_MAX)
        if data is None:
            raise _FailureError(LogProblem.UNREACHABLE, f"no checkpoint at {log.source.name}")
        try:
            return notes.verify(inflated(data, notes.NOTE_BYTES_MAX) or b"", log.key)
        except notes.ForgedError as error:
            raise _FailureError(LogProblem.FORGED, str(error)) from error
        except notes.NoteError as error:
            raise _FailureError(LogProblem.MALFORMED, str(error)) from error

    async def _read_entries(self, log: FollowedLog, tree: Tree, stop: asyncio.Event) -> Entry | None:
        """Read from the next entry on, tile by tile, for one turn; returns one that claims another number."""
        odd: Entry | None = None
        until = asyncio.get_running_loop().time() + TURN_SECONDS
        while not stop.is_set() and (position := self.state.positions[log.name.id]).next < position.size:
            first = position.next - position.next % WIDTH
            width = min(WIDTH, position.size - first)
            hashes = await tree.hashes(0, first // WIDTH)
            data, entries = await self._read_data(log, first, width)
            if [entry.leaf_hash for entry in entries] != hashes:
                raise _FailureError(
                    LogProblem.WRONG_HASH, f"{tiles.data_path(first // WIDTH, width)} is not what it signed"
                )
            new = entries[position.next - first :]
            found = [finding async for finding in self._find(log, new)] if self.watched.concerns(data) else []
            self.summary.entries += len(new)
            self.state.positions[log.name.id] = msgspec.structs.replace(position, next=first + width)
            self._advance(found)
            odd = odd or next((entry for entry in new if entry.claimed not in {None, entry.number}), None)
            await asyncio.sleep(0)  # a copy on disk never waits, and signals must be heard
            if asyncio.get_running_loop().time() >= until and first + width < position.size:
                self._unfinished.add(log.name.id)
                break
        return odd

    def _advance(self, found: Sequence[Finding]) -> None:
        """Write what was found, and save the position: with it at once, else from time to time."""
        now = asyncio.get_running_loop().time()
        if found:
            self._write(found)
        elif now - self._saved_at >= SAVE_SECONDS:
            self.state.save()
        else:
            return
        self._saved_at = now

    async def _read_data(self, log: FollowedLog, first: int, width: int) -> tuple[bytes, list[Entry]]:
        """The entries of a tile; from the whole one where the log no longer has the partial one."""
        index = first // WIDTH
        for wanted in dict.fromkeys((width, WIDTH)):
            path = tiles.data_path(index, wanted)
            data = await log.source.read(path, TILE_BYTES_MAX)
            if data is None:
                continue
            data = inflated(data, TILE_BYTES_MAX)
            if data is None:
                raise _FailureError(LogProblem.MALFORMED, f"{path} cannot be unpacked, or is too large")
            try:
                return data, read_tile(data, first, wanted)[:width]
            except EntryError as error:
                raise _FailureError(LogProblem.MALFORMED, f"{path}: {error}") from error
        raise _FailureError(LogProblem.UNREACHABLE, tiles.data_path(index, width))

    async def _find(self, log: FollowedLog, entries: Sequence[Entry]) -> AsyncGenerator[Finding, None]:
        for entry in entries:
            if (match := self.watched.match(entry)) is None:
                continue
            issuers = await self._issuers_of(log, match) if self.watched.needs_issuers(match) else ()
            if (finding := self._finding(log, match, issuers)) is not None:
                yield finding

    def _finding(self, log: FollowedLog, match: Match, issuers: Sequence[Certificate]) -> Finding | None:
        if not match.is_readable:
            self._unreadable[log.name.id] += 1
            if self._unreadable[log.name.id] <= UNREADABLE_MAX:
                return findings.of_unreadable(match, log.name, self.clock())
            self.summary.found[FindingKind.UNREADABLE] += 1
            return None
        hosts = self.watched.unknown(match, issuers)
        if not hosts:
            return None
        in_history = self.watched.was_logged(match, hosts)
        return findings.of_certificate(match, hosts, log.name, self.clock(), in_history=in_history)

    async def _issuers_of(self, log: FollowedLog, match: Match) -> tuple[Certificate, ...]:
        """The issuers that the log has for an entry, as far as they can be read."""
        found = []
        for fingerprint in match.entry.issuers:
            if (certificate := self._issuers.get(fingerprint)) is None:
                data = await log.source.read(f"issuer/{fingerprint.hex()}", CERTIFICATE_BYTES_MAX)
                unpacked = None if data is None else inflated(data, CERTIFICATE_BYTES_MAX)
                if unpacked is None or hashlib.sha256(unpacked).digest() != fingerprint:
                    LOG.info("%s: the issuer %s is not available", log.name.name, fingerprint.hex())
                    continue
                if len(self._issuers) >= ISSUERS_CACHED:
                    self._issuers.clear()
                certificate = self._issuers[fingerprint] = Certificate.read(unpacked)
            found.append(certificate)
        return tuple(found)
