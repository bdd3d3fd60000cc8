"""The process that assesses: reads requests on standard input, writes assessments on standard output (`work`).

Room: detector_collect.worker. Started and killed by `process`. The first line says what to assess with, and is answered
when that was read. It opens nothing else, and ends when its input does, which is also how it notices that its parent is
gone.
"""

from __future__ import annotations

import sys

import msgspec

from .work import READY, MaterialConfig, run


def main() -> None:
    """Serve until the input ends."""
    requests, responses = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # only assessments may be written there
    material = msgspec.json.decode(requests.readline(), type=MaterialConfig).read()
    responses.write(READY)
    responses.flush()
    for line in requests:
        responses.write(run(line, material) + b"\n")
        responses.flush()


if __name__ == "__main__":
    main()
