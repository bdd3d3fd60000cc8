"""Measure memory and time of a scan of many targets, with recorded observations in place of a network.

Prints a line for every tenth of the targets. Linux only: it reads the process's memory from /proc.

    python -m benchmark.scan_memory --targets 1000000
"""

from __future__ import annotations

import argparse
import asyncio
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detector_testing import PrivatePKI

from detector.knowledge import ct_logs
from detector.model import Endpoint, Observation, Outcome
from detector.pins import PinSet
from detector.scan import Target, scan
from detector.session.session import Detector
from detector.session.stream import StreamSettings
from detector.trust.certificate import Certificate
from detector.trust.roots import from_der

if TYPE_CHECKING:
    from collections.abc import Sequence

GENUINE, FORGED = 200, 2000
"""Distinct chains: a tenth of the targets presents a genuine one, a hundredth one of its own private CA."""


def _observation(chain: Sequence[bytes]) -> Observation:
    presented = tuple(Certificate.read(der).presented() for der in chain)
    return Observation(outcome=Outcome.COMPLETE, key_proved=True, chain=presented)


class Recorded(Detector):
    """A detector whose probes are taken from a few recorded ones, in turn."""

    def __init__(self, pki: PrivatePKI) -> None:
        super().__init__(
            pins=PinSet(name="none", endpoints=()),
            roots=from_der([pki.root_a.certificate, pki.root_b.certificate], name="test"),
            logs=ct_logs.parse(pki.ct_log_list_json(), name="test"),
            proxy="none",
            offline=True,
        )
        self._genuine = [_observation(pki.issue([host]).chain) for host in map(_host, range(GENUINE))]
        self._forged = [
            _observation(pki.private_ca(f"Filter CA {at}").issue([_host(at)]).chain) for at in range(FORGED)
        ]
        self._refused = Observation(outcome=Outcome.CONNECT_REFUSED)
        self._numbers = count(1)

    async def probe(self, endpoint: Endpoint, **_: Any) -> tuple[Observation, ...]:  # noqa: ANN401, ARG002 - accepts whatever `Detector.probe` is called with, and ignores it
        """Give the next recorded observation."""
        number = next(self._numbers)
        await asyncio.sleep(0)
        observation = self._refused
        if number % 100 == 0:
            observation = self._forged[number // 100 % FORGED]
        elif number % 10 == 0:
            observation = self._genuine[number // 10 % GENUINE]
        return (observation,)


def _host(number: int) -> str:
    return f"h{number}.example{number % 50}.org"


async def measure(targets: int) -> int:
    """Scan that many targets; returns the peak memory of this process in MiB."""
    detector = Recorded(PrivatePKI.create())
    source = (Target(Endpoint(host=_host(number)), "generated") for number in range(targets))
    begun, seen = time.perf_counter(), 0
    async for _ in scan(detector, source, settings=StreamSettings(retries=0)):
        seen += 1
        if seen % max(targets // 10, 1) == 0:
            print(f"{seen:>9} results  {time.perf_counter() - begun:7.1f} s  {_mebibytes():4d} MiB", flush=True)
    return _mebibytes()


def _mebibytes() -> int:
    """Return the peak memory of this process; `ru_maxrss` would include its parent's."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def main() -> int:
    """Run from the command line. Exit code 1 when the memory exceeds `--limit`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--targets", type=int, default=1_000_000)
    parser.add_argument("--limit", type=int, default=300, help="MiB that must not be exceeded")
    arguments = parser.parse_args()
    return int(asyncio.run(measure(arguments.targets)) > arguments.limit)


if __name__ == "__main__":
    raise SystemExit(main())
