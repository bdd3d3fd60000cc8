"""What this machine trusts beyond the public roots: readers of its trust stores, and an audit of their content.

Room: audit. `machine` and the store modules read files, databases, the Windows registry and the output of `trust` and
`security`; `audit`, `table` and `entries` are pure. Nothing here opens a socket, and nothing in the output names a
person: home directories appear as `~`, browser profiles by kind.
"""

from .audit import audit
from .entries import (
    AuditedRoot,
    AuditReport,
    InstalledRoot,
    Kind,
    Known,
    Scanned,
    StoreSummary,
    UnreadableStore,
    Verdict,
)
from .machine import read_bundles, read_machine, read_stores

__all__ = [
    "AuditReport",
    "AuditedRoot",
    "InstalledRoot",
    "Kind",
    "Known",
    "Scanned",
    "StoreSummary",
    "UnreadableStore",
    "Verdict",
    "audit",
    "read_bundles",
    "read_machine",
    "read_stores",
]
