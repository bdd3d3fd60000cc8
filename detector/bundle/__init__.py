"""The evidence bundle: one file that somebody else can assess again offline (docs/evidence-bundle.md).

Room: bundle. Pure: no sockets, no clock. `form` is the file, `packing` makes one, `verification` assesses it again.

    data = bundle.pack(report, evidence, keys=[key])
    verification = bundle.verify(data, keys=[public_key])
"""

from .form import Bundle, add_timestamp, read, redact, sign
from .packing import pack
from .verification import Conclusion, Verification, verify

__all__ = ["Bundle", "Conclusion", "Verification", "add_timestamp", "pack", "read", "redact", "sign", "verify"]
