"""Dates on which pins expire at their beginning, as TrustKit and Android write them: yyyy-MM-dd.

Room: pins. Pure. A pin file gives the last day of use instead, the day before.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

from detector.model.toml_files import shown

from .entry import refuse

_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_DAY: Final = dt.timedelta(days=1)


def day_before(field: str, text: object) -> dt.date:
    """The last day of pins that expire on this date. Raises `PinFileError`."""
    try:
        return dt.date.fromisoformat(text if isinstance(text, str) and _DATE.match(text) else "") - _DAY
    except (ValueError, OverflowError):
        refuse(field, f"{shown(text)} is not a date", "Write yyyy-MM-dd.")


def day_after(endpoint: str, last: dt.date) -> str:
    """The date on which pins of this last day expire. Raises `PinFileError`."""
    if last == dt.date.max:
        refuse(f"{endpoint}: expires", "no date follows it", "Give an earlier date.")
    return (last + _DAY).isoformat()
