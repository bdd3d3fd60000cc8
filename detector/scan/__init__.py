"""Scans: any number of targets in, one result each out, in constant memory.

Room: scan, above session. `targets` reads what people write (pure), `pace` decides when, `journal` remembers what is
done, `conduct` runs the probes, `judging` judges in a stream, `work` is what other processes are given to do.
`detector scan` is the command around it.
"""

from __future__ import annotations

from .judging import Replaced, Scanned
from .record import Journal
from .runner import ScanSettings, scan
from .targets import BadLine, Target, expand, read_targets

__all__ = ["BadLine", "Journal", "Replaced", "ScanSettings", "Scanned", "Target", "expand", "read_targets", "scan"]
