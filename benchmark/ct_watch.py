"""What `detector ct watch` costs: entries of a log for each second of processor time.

`python -m benchmark.ct_watch` makes a log of 51,200 entries of about 2 kB, as public ones are, and reads it from a
directory for several sets of hosts, on one core: everything is verified, and nothing is found.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from detector_testing import PrivatePKI, StaticLog

from detector.ct import logs
from detector.ct.matching import Watched
from detector.ct.monitor import Monitor
from detector.ct.state import FileOutput, State
from detector.model import Endpoint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.probe import Dialer

ENTRIES: Final = 51_200
ISSUED: Final = 400
"""Certificates that are really issued; entries repeat them, each with its own number and time."""
NAMES: Final = 8
HOSTS: Final = {
    "one host": ["exam.school.edu"],
    "5,000 hosts": [f"exam.school{number}.edu" for number in range(5000)],
    "32 hosts of two labels": [f"school{number}.edu" for number in range(32)],
    "5,000 hosts of two labels: all is parsed": [f"school{number}.edu" for number in range(5000)],
}


def make_log() -> StaticLog:
    """A log without any of the hosts."""
    pki, issued, log = PrivatePKI.create(), StaticLog.create(), StaticLog.create(compress=True)
    for number in range(ISSUED):
        ca, names = pki.intermediate_rsa, [f"www{n}.host{number}.example.org" for n in range(NAMES)]
        issued.issue(ca, names, key="rsa" if number % 4 == 0 else "ec", aia=["http://ca.example.net/issuing.crt"])
    bodies = [entry.timestamped[10:-10] for entry in issued.entries]  # without time, type and extensions
    for number in range(ENTRIES):
        key_hash, tbs = bodies[number % ISSUED][:32], bodies[number % ISSUED][35:]
        log.add_precertificate(tbs, key_hash, tbs, ())
    return log


async def unconnected(endpoint: Endpoint) -> Dialer:
    """Nothing is connected to."""
    raise AssertionError(endpoint)


def read(folder: Path, hosts: Sequence[str], log: StaticLog) -> float:
    """Read the copy of the log from its start; returns entries a second."""
    (folder / "state").unlink(missing_ok=True)
    output = FileOutput(os.devnull)
    with State(folder / "state", output) as state:
        monitor = Monitor(
            logs=[logs.named(f"{folder / 'log'}={folder / 'key.pem'}", unconnected)],
            watched=Watched([Endpoint(host=host) for host in hosts], roots=frozenset()),
            state=state,
            clock=lambda: log.now,
            line=lambda finding: finding.summary,
            note=lambda _: None,
            start=0,
        )
        begun = time.process_time()
        summary = asyncio.run(monitor.run(interval=None, stop=asyncio.Event()))
        taken = time.process_time() - begun
    output.close()
    if summary.entries != ENTRIES or summary.found or summary.problems:
        raise AssertionError(summary)
    return summary.entries / taken


def main() -> None:
    """Print the table."""
    log = make_log()
    size = sum(len(entry.timestamped) + len(entry.rest) for entry in log.entries) // ENTRIES
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log.write(folder / "log")
        (folder / "key.pem").write_bytes(log.key_pem)
        print(f"{'watched for':<44}{'entries/s':>12}   ({size} bytes each)")
        for what, hosts in HOSTS.items():
            print(f"{what:<44}{read(folder, hosts, log):>12,.0f}", flush=True)


if __name__ == "__main__":
    main()
