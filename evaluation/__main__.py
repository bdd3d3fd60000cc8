"""Entry point of `python -m evaluation`."""

from __future__ import annotations

import os
import sys

from .command import TERMINAL_CLOSED, main

if __name__ == "__main__":
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader is gone (`| head`); keep the interpreter from complaining when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = TERMINAL_CLOSED
    sys.exit(code)
