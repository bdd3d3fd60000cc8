"""Scans: any number of targets in, one result each out, in constant memory.

Room: scan, above session. `targets` reads what people write (pure), `pace` decides when, `journal` remembers what is
done, `conduct` runs the probes. `detector scan` is the command around it.
"""

from __future__ import annotations

from .conduct import Scanned, ScanSettings, scan
from .journal import Journal
from .targets import BadLine, Target, expand, read_targets

__all__ = ["BadLine", "Journal", "ScanSettings", "Scanned", "Target", "expand", "read_targets", "scan"]
