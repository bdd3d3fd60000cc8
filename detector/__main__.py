"""The command `detector`, also `python -m detector`.

Room: cli. Knows nothing but exit codes: 0 clean, 1 middleware, 2 bad usage or input, 3 inconclusive, 130 interrupted,
70 a fault of this program.
"""

from __future__ import annotations

import gc
import time

STARTED = time.monotonic() - time.process_time()
"""When this process began, in seconds of the monotonic clock: now, before anything heavy is imported, less the time the
interpreter has already worked. A deadline on the command line counts from here."""


def main() -> None:
    """Run the command and exit."""
    from .cli import run  # noqa: PLC0415 - after the clock has started

    code = run(started=STARTED)
    gc.freeze()  # a program that ends need not search all that it imported for cycles: 25 ms on the way to the caller
    raise SystemExit(code)


if __name__ == "__main__":
    main()
