"""Reads XML and XML property lists that others wrote: bounded, without entities, nothing said twice.

Room: pins. Pure.

The standard library's plistlib keeps the last of two equal keys; a file that two programs read differently is refused
here. Binary property lists are refused: their objects may refer to each other, so that a small file is a large value.
"""

from __future__ import annotations

import base64
import xml.parsers.expat  # entity declarations are refused below, and external ones are never fetched
from typing import Any, Final, NamedTuple

from detector.errors import PinFileError
from detector.model.toml_files import shown

from .entry import plain

NESTING_MAX: Final = 32
"""Elements within elements; a property list of pins has seven, one of an app seldom more than ten."""
ELEMENTS_MAX: Final = 100_000
"""Elements of one file: twenty for each entry that a pin set may have."""
_DIGITS_MAX: Final = 20
"""Digits of an integer; 64 bits have 20."""

_BINARY: Final = b"bplist"
_XML_ADVICE: Final = "Save it as plain XML, without DOCTYPE subset and entities."


class Element(NamedTuple):
    """An element: its name, its attributes, the elements in it and the text directly in it."""

    name: str
    attributes: dict[str, str]
    children: list[Element]
    texts: list[str]

    @property
    def text(self) -> str:
        """The text without surrounding white space. Raises `PinFileError` where there are elements in it."""
        if self.children:
            raise PinFileError(f"<{plain(self.name)}> has elements in its text.", advice="Write text alone.")
        return "".join(self.texts).strip()


class _Builder:
    """Builds the tree of one document."""

    def __init__(self) -> None:
        self.top = Element("", {}, [], [])
        self._open = [self.top]
        self._count = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if self._count > ELEMENTS_MAX or len(self._open) > NESTING_MAX:
            raise PinFileError(
                f"This XML has more than {ELEMENTS_MAX} elements, or more than {NESTING_MAX} within each other.",
                advice="Give the file with the pins alone.",
            )
        element = Element(name, attributes, [], [])
        self._open[-1].children.append(element)
        self._open.append(element)

    def end(self, _: str) -> None:
        self._open.pop()

    def text(self, data: str) -> None:
        self._open[-1].texts.append(data)

    def doctype(self, _name: str, _system: str | None, _public: str | None, has_subset: int) -> None:
        if has_subset:
            self.entity()

    def entity(self, *_: object) -> None:
        raise PinFileError("This XML declares or uses entities of its own.", advice=_XML_ADVICE)


def parse(data: bytes) -> Element:
    """Parse XML; return its root element. Raises `PinFileError`, without the name of the file."""
    builder = _Builder()
    parser = xml.parsers.expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    parser.StartDoctypeDeclHandler = builder.doctype
    parser.EntityDeclHandler = builder.entity
    parser.SkippedEntityHandler = builder.entity
    try:
        parser.Parse(data, True)  # noqa: FBT003 - expat's own signature
    except xml.parsers.expat.ExpatError as error:
        words = xml.parsers.expat.ErrorString(error.code)
        raise PinFileError(f"not XML: {words} (line {error.lineno}).", advice="Correct it at that line.") from None
    except PinFileError:  # what the builder refuses
        raise
    except (LookupError, ValueError):  # an encoding that the standard library does not have, or not one of text
        raise PinFileError("not XML: its encoding is unknown.", advice="Save it as UTF-8.") from None
    return builder.top.children[0]


def property_list(data: bytes) -> dict[str, Any]:
    """Read an XML property list whose top is a dictionary. Raises `PinFileError`, without the name of the file."""
    if data.startswith(_BINARY):
        raise PinFileError(
            "This is a binary property list, which is not read.", advice="Convert it: plutil -convert xml1 FILE."
        )
    root = parse(data)
    if root.name != "plist" or [child.name for child in root.children] != ["dict"]:
        raise PinFileError("This is XML, but not a property list of a dictionary.", advice="Give the property list.")
    top = _value(root.children[0], "plist")
    assert isinstance(top, dict)  # noqa: S101 - the element is a dict
    return top


def _value(element: Element, where: str) -> Any:  # noqa: ANN401 - a property list's
    match element.name:
        case "dict":
            return _dictionary(element, where)
        case "array":
            return [_value(child, f"{where}[{index}]") for index, child in enumerate(element.children)]
        case "true" | "false":
            return element.name == "true"
        case "string" | "date" | "real":
            return element.text
        case "integer":
            digits = element.text.removeprefix("-")
            if not (digits.isascii() and digits.isdecimal() and len(digits) <= _DIGITS_MAX):
                raise PinFileError(f"{where}: {shown(element.text)} is no integer.", advice="Write decimal digits.")
            return int(element.text)
        case "data":
            try:
                return base64.b64decode("".join(element.text.split()), validate=True)
            except ValueError:  # binascii.Error, or not ASCII
                raise PinFileError(f"{where}: is not base64.", advice="Copy the data again, whole.") from None
        case _:
            raise PinFileError(f"{where}: {shown(element.name)} is no property list's.", advice=_XML_ADVICE)


def _dictionary(element: Element, where: str) -> dict[str, Any]:
    keys, values = element.children[::2], element.children[1::2]
    if len(keys) != len(values) or any(key.name != "key" or key.children for key in keys):
        raise PinFileError(f"{where}: keys and values do not alternate.", advice="Give each key one value.")
    found: dict[str, Any] = {}
    for key, value in zip(keys, values, strict=True):
        name = key.text
        if name in found:
            raise PinFileError(f"{where}: the key {shown(name)} is there twice.", advice="Keep one of the two.")
        found[name] = _value(value, f"{where}.{plain(name)}")
    return found
