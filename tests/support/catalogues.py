"""The catalogues of translations as patterns: what matches is made of their sentences alone.

Room: tests. Reads the catalogues.
"""

from __future__ import annotations

import re
from typing import Final

import build_language
from support.admissions import HOSTILE, PRODUCT

CODES: Final = build_language.codes()
_HOST: Final = r"[a-z0-9.-]+(?::[0-9]+)?"
_HOSTS: Final = f"{_HOST}(?:, {_HOST})*"


def _sentences(code: str) -> re.Pattern[str]:
    """What any number of sentences of a catalogue match, with hosts, numbers and names of tests, and nothing else."""
    every = {sentence[0]: forms for sentence, forms in build_language.entries(build_language.catalogue(code))}
    fields = {"host": _HOST, "hosts": _HOSTS, "product": re.escape(PRODUCT), "issuer": re.escape(HOSTILE)}

    def phrases(*sentences: str) -> str:
        return "|".join(_filled(form, fields) for sentence in sentences for form in every[sentence])

    party = f"(?:{fields['product']}|{phrases(*(one for one in every if one.startswith('an unknown party')))})"
    first = f"{party}(?:, {party})*"
    fields |= {
        "hosts": f"{phrases('{hosts} and {number} more')}|{_HOSTS}",
        "file": phrases("the pin file"),
        "settings": phrases("the settings of this machine"),
        "schemes": "GSSAPI",
    }
    two = _filled(every["{first} and {last}"][0], {"first": first, "last": party})
    fields["parties"] = f"{phrases('{number} parties')}|{two}|{party}"
    kind = phrases(*(one for one in every if one.endswith(")") and one.startswith("{count}")))
    fields["kinds"] = f"(?:{kind})(?:; (?:{kind}))*"
    whole = [sentence for sentence in every if sentence.endswith((".", ":"))]
    forms = sorted((_filled(form, fields) for one in whole for form in every[one]), key=len, reverse=True)
    return re.compile(rf"(?:(?:{'|'.join(forms)})(?: |\Z))+")


def _filled(form: str, fields: dict[str, str]) -> str:
    """A translation as a pattern, with patterns for its fields."""
    parts = re.split(r"\{(\w+)\}", form)
    return "".join(
        re.escape(part) if number % 2 == 0 else f"(?:{fields.get(part, '[0-9]+')})" for number, part in enumerate(parts)
    )


PATTERNS: Final = {code: _sentences(code) for code in CODES}
