"""What clients send: read, checked, and refused in one vocabulary.

Room: detector_collect.submissions. Pure: bytes in, records out; keys and time are arguments.
"""

from __future__ import annotations

from .contents import UNSIGNED, check_content, of_report
from .decompression import gunzip
from .reading import AGE_MAX, FUTURE_MAX, Accepted, Key, check_key, check_made, decode, key_named, read, verify
from .refusals import ANSWERS, Answer, Refusal, RefusedError

__all__ = [
    "AGE_MAX", "ANSWERS", "FUTURE_MAX", "UNSIGNED", "Accepted", "Answer", "Key", "Refusal", "RefusedError",
    "check_content", "check_key", "check_made", "decode", "gunzip", "key_named", "of_report", "read", "verify",
]  # fmt: skip
