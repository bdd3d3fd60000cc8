"""The catalogues of translations as patterns: what matches is made of their sentences alone.

Room: tests. Reads the catalogues.
"""

from __future__ import annotations

import re
from typing import Final

import build_language
from support.admissions import PRODUCT

CODES: Final = build_language.codes()
HOST: Final = r"[a-z0-9.-]+(?::[0-9]+)?"


def sentences(code: str) -> re.Pattern[str]:
    """What any number of sentences of a catalogue match, and nothing else does."""
    entries = build_language.entries(build_language.catalogue(code))
    every = {sentence[0]: forms for sentence, forms in entries}
    few = f"{HOST}(?:, {HOST})*"
    more = [_filled(form, {"hosts": few}) for form in every["{hosts} and {number} more"]]
    fields = {"hosts": "|".join([*more, few]), "product": re.escape(PRODUCT), "file": re.escape(*every["the pin file"])}
    whole = [_filled(form, fields) for sentence, forms in every.items() if sentence.endswith(".") for form in forms]
    return re.compile(rf"(?:(?:{'|'.join(sorted(whole, key=len, reverse=True))})(?: |\Z))+")


def _filled(form: str, fields: dict[str, str]) -> str:
    """A translation as a pattern, with patterns for its fields."""
    parts = re.split(r"\{(\w+)\}", form)
    return "".join(
        re.escape(part) if number % 2 == 0 else f"(?:{fields.get(part, '[0-9]+')})" for number, part in enumerate(parts)
    )


PATTERNS: Final = {code: sentences(code) for code in CODES}
