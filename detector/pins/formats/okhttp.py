"""OkHttp: the calls of `CertificatePinner.Builder` in Java or Kotlin source.

Room: pins. Pure; source is read, never run.

Only string literals are read, between `CertificatePinner.Builder` and `build`; a call with anything else is refused,
since what it pins is not known. Comments are skipped. All patterns that fit a host apply to it: `*.` stands for one
label, `**.` for any number of them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from detector.errors import PinFileError
from detector.model.endpoint import encode_pin
from detector.model.toml_files import shown

from .entry import Entry, Found, Scope, Written, bounded, read_host, read_pins, refuse

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

_TOKEN: Final = re.compile(
    r"""//[^\n]*+ | /\*(?:[^*]|\*(?!/))*+(?:\*/)?+     # comments; one that never ends takes the rest
    | (?P<raw>\"{3}(?:[^"]|"(?!""))*+(?:\"{3})?+)     # a text of several lines
    | "(?P<text>(?:[^"\\\n]|\\.)*+)(?P<closed>"?+)    # a string
    | '(?:[^'\\\n]|\\.)*+'?+
    | (?P<word>\w++)
    | (?P<sign>[(),])
    | (?P<other>\S)""",
    re.VERBOSE,
)
"""A token of Java or Kotlin. Possessive, so that each character is read once."""
_BEGIN: Final = ("CertificatePinner", ".", "Builder")
_WILDCARDS: Final = (("**.", Scope.SUBDOMAINS), ("*.", Scope.ONE_LABEL), ("", Scope.HOST))
_ADVICE: Final = 'Write .add("host", "sha256/…") with texts alone.'


def read(data: bytes, _: dt.date) -> Found:
    """Read the calls of add."""
    try:
        source = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise PinFileError("not UTF-8 text.", advice="Give the source that builds the CertificatePinner.") from None
    return Found(bounded(_entries(source)))


def _entries(source: str) -> Iterator[Entry]:
    within = False
    arguments: list[str] | None = None
    before = ("",) * len(_BEGIN)
    for token in _TOKEN.finditer(source):
        if token.lastgroup is None:
            continue  # a comment, or a character
        if arguments is not None:
            if token["text"] is not None:
                arguments.append(_literal(_call(arguments), token))
            elif token["sign"] == ")":
                yield _entry(arguments)
                arguments = None
            elif token["sign"] != ",":
                refuse(_call(arguments), "has an argument that is not a text", _ADVICE)
        elif token["word"] == "build" or before == _BEGIN:
            within = before == _BEGIN
        elif within and token["sign"] == "(" and before[-1] == "add":
            arguments = []
        before = (*before[1:], token["word"] or token["other"] or "")
    if arguments is not None:
        refuse(_call(arguments), "has no closing bracket", _ADVICE)


def _call(arguments: list[str]) -> str:
    """What messages name a call."""
    return f"add({shown(arguments[0]) if arguments else ''})"


def _literal(call: str, token: re.Match[str]) -> str:
    text = token["text"]
    if not token["closed"] or "\\" in text or "$" in text:
        refuse(call, f"{shown(text)} is not plain text within quotes", _ADVICE)
    return str(text)


def _entry(arguments: list[str]) -> Entry:
    if not arguments[1:]:
        refuse(_call(arguments), "has no pin", _ADVICE)
    pattern, *pins = arguments
    prefix, scope = next(one for one in _WILDCARDS if pattern.startswith(one[0]))
    field = f"add({shown(pattern)})"
    return Entry(read_host(field, pattern.removeprefix(prefix)), scope, read_pins(field, pins, "sha256/"))


def write(written: Written) -> str:
    """Write Kotlin that builds a CertificatePinner."""
    calls = (
        f'    .add("{endpoint.host}", ' + ", ".join(f'"{encode_pin(pin)}"' for pin in endpoint.pins) + ")"
        for endpoint in written.endpoints
    )
    return "\n".join(("CertificatePinner.Builder()", *calls, "    .build()", ""))
