"""Scans: any number of targets in, one row each out, in constant memory.

Room: scan, above session. `targets` reads what people write (pure), `runner` scans on the one stream of
`detector.session.stream`, `record` remembers what is done, `work` is what other processes do, `processes` runs them on
this machine and `fleet` on others. `detector scan` is the command around it.
"""

from __future__ import annotations

from .record import ScanRecord
from .runner import Replaced, Scanned, scan
from .targets import BadLine, Target, expand, read_targets

__all__ = ["BadLine", "Replaced", "ScanRecord", "Scanned", "Target", "expand", "read_targets", "scan"]
