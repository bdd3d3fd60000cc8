"""Room: tests. Logs with mirrors on disk, and a monitor that follows them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from detector.ct import logs
from detector.ct.findings import Finding
from detector.ct.matching import Watched
from detector.ct.monitor import Monitor, Summary
from detector.ct.state import FileOutput, State
from detector.model import Endpoint, json_text

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence
    from pathlib import Path

    from detector_testing import PrivatePKI, StaticLog

HOST = "exam.example.edu"


async def no_dialer(endpoint: Endpoint) -> object:
    """Nothing is connected to in these tests."""
    raise AssertionError(endpoint)


@dataclass
class World:
    """Logs with their mirrors, hosts to watch for, and what has been found."""

    folder: Path
    pki: PrivatePKI
    log: StaticLog
    endpoints: Sequence[Endpoint] = (Endpoint(host=HOST),)
    others: list[StaticLog] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    leaf_keys_only: bool = False
    now: dt.datetime | None = None

    @property
    def mirror(self) -> Path:
        """The mirror of the first log."""
        return self.folder / self.log.ct_log.description

    def publish(self, *logs_: StaticLog) -> None:
        """Write mirrors of logs; of all of them without any."""
        for log in logs_ or (self.log, *self.others):
            log.write(self.folder / log.ct_log.description)

    def run(
        self, *, start: int | None = None, stop: asyncio.Event | None = None, interval: float | None = None
    ) -> Summary:
        """Read what the mirrors have: once, or at this interval until `stop` is set."""
        followed = []
        for log in (self.log, *self.others):
            key = self.folder / f"{log.ct_log.description}.pem"
            key.write_bytes(log.key_pem)
            followed.append(logs.named(f"{self.folder / log.ct_log.description}={key}", no_dialer))  # type: ignore[arg-type] # is never called
        output = FileOutput(str(self.folder / "found.jsonl"))
        watched = Watched(self.endpoints, roots=frozenset(), leaf_keys_only=self.leaf_keys_only)
        with State(self.folder / "state.json", output) as state:
            monitor = Monitor(
                logs=followed,
                watched=watched,
                state=state,
                clock=lambda: self.now or self.log.now,
                line=lambda finding: finding.to_json().decode(),
                note=self.notes.append,
                start=start,
            )
            summary = asyncio.run(monitor.run(interval=interval, stop=stop or asyncio.Event()))
        output.close()
        return summary

    @property
    def found(self) -> list[Finding]:
        """Every line of the output."""
        lines = (self.folder / "found.jsonl").read_bytes().splitlines()
        return [json_text.decode(line, Finding) for line in lines]
