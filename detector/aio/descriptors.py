"""How many files and connections this process may have open, and how many probes fit into that.

Room: aio. Reads the limit of the process; `raise_limit`, for programs, changes it.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Final

if sys.platform != "win32":  # which has no limit of this kind
    import resource

RESERVED: Final = 64
"""Descriptors kept for what is no connection: streams, libraries, files, imports, a history (30 to 40 in a scan)."""
PER_PROBE: Final = 2
"""Descriptors of one probe: two addresses of a host are tried at once (RFC 8305, section 5)."""
OPEN_MAX: Final = 10240
"""Files that macOS lets a process have (OPEN_MAX of its sys/syslimits.h) where it reports no limit."""


def raise_limit() -> None:
    """Raise the soft limit of open files to the hard one: macOS starts programs with 256."""
    if sys.platform == "win32":
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_MAX if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # a system with another limit besides
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def probes_at_once(wanted: int) -> int:
    """How many of `wanted` probes this process has descriptors for, one at least."""
    if sys.platform == "win32":
        return wanted
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    return max(min(wanted, (soft - RESERVED) // PER_PROBE), 1)
