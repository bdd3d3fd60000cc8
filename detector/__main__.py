"""The command `detector`, also `python -m detector`.

Room: cli. Knows nothing but exit codes: 0 clean, 1 middleware, 2 bad usage or input, 3 inconclusive, 130 interrupted,
70 a fault of this program.
"""

from __future__ import annotations

import gc
import sys
import time

STARTED = time.monotonic() - time.process_time()
"""When this process began, on the monotonic clock: now, before anything heavy is imported, less the processor time that
the interpreter has used. A deadline on the command line counts from here."""
INTERNAL_ERROR = 70
"""EX_SOFTWARE of sysexits.h."""


def main() -> None:
    """Run the command and exit."""
    try:
        from .cli import run  # noqa: PLC0415 - imported after the clock has started, because the import is part of what is timed
    except ImportError as error:  # Python would exit with 1, which accuses a network
        print(f"Error: {error}. Install the package again.", file=sys.stderr)  # noqa: T201 - the package is incomplete, so nothing of it can write the message
        raise SystemExit(INTERNAL_ERROR) from None
    code = run(started=STARTED)
    gc.freeze()  # a search of all imported objects for cycles would delay the exit by 25 ms
    raise SystemExit(code)


if __name__ == "__main__":
    main()
