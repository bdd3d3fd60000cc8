"""Android's network security configuration: <pin-set> of a <domain-config> (res/xml/network_security_config.xml).

Room: pins. Pure.

A <domain-config> without a <pin-set> inherits that of the one around it, and the longest name that fits a host decides.
Android ceases to check pins when their expiration date begins, so the last day here is the one before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple
from xml.sax.saxutils import escape

from detector.errors import PinFileError
from detector.model.toml_files import shown

from . import markup
from .entry import (
    Entry,
    Found,
    Scope,
    Written,
    base64_of,
    bounded,
    day_after,
    day_before,
    plain,
    read_host,
    read_pins,
    refuse,
)

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

_ROOT: Final = "network-security-config"
_BOOLEANS: Final = {"true": True, "false": False}
_LEFT_OUT: Final = ("certificateTransparency", "domainEncryption")
_TRUST: Final = "trust-anchors"


class _PinSet(NamedTuple):
    pins: tuple[bytes, ...] = ()
    expires: dt.date | None = None


def read(data: bytes, _: dt.date) -> Found:
    """Read the pins of all domains."""
    root = markup.parse(data)
    if root.name != _ROOT:
        raise PinFileError(f"The root element is not <{_ROOT}>.", advice="Give the network security configuration.")
    notes: dict[str, None] = {}
    for element in root.children:
        if element.name in ("base-config", "debug-overrides"):
            notes[f"<{element.name}> is left out: it has no pins."] = None
        elif element.name != "domain-config":
            refuse(f"<{plain(element.name)}>", "is not known here", "Remove it.")
    configs = [element for element in root.children if element.name == "domain-config"]
    entries = (entry for config in configs for entry in _of_config(config, _PinSet(), notes))
    return Found(bounded(entries), tuple(notes))


def _of_config(config: markup.Element, inherited: _PinSet, notes: dict[str, None]) -> Iterator[Entry]:
    """The entries of a <domain-config> and those in it; the depth of XML is bounded."""
    sets = [child for child in config.children if child.name == "pin-set"]
    domains = [child for child in config.children if child.name == "domain"]
    where = f"<domain-config> of {shown(domains[0].text)}" if domains else "<domain-config>"
    if len(sets) > 1:
        refuse(f"{where}: <pin-set>", "is there twice", "Keep one of the two.")
    pin_set = _of_pin_set(where, sets[0]) if sets else inherited
    for domain in domains:
        flag = _BOOLEANS.get(domain.attributes.get("includeSubdomains", "false"))
        if flag is None:
            refuse(f"{where}: includeSubdomains", "is neither true nor false", "Write one of the two.")
        host = read_host(f"{where}: <domain>", domain.text)
        yield Entry(host, Scope.SUBDOMAINS if flag else Scope.HOST, pin_set.pins, pin_set.expires)
    for child in config.children:
        if child.name == "domain-config":
            yield from _of_config(child, pin_set, notes)
        elif child.name == _TRUST:
            if any(one.attributes.get("overridePins") == "true" for one in child.children):
                refuse(f"{where}: overridePins", "exempts chains to some roots from the pins", "Remove it.")
            notes[f"<{_TRUST}> is left out: a pin file names roots in roots and private_roots."] = None
        elif child.name in _LEFT_OUT:
            notes[f"<{child.name}> is left out: it says nothing of the host's keys."] = None
        elif child.name not in ("pin-set", "domain"):
            refuse(f"{where}: <{plain(child.name)}>", "is not known here", "Remove it.")


def _of_pin_set(where: str, element: markup.Element) -> _PinSet:
    field = f"{where}: <pin>"
    for child in element.children:
        if child.name != "pin" or child.attributes.get("digest") != "SHA-256":
            refuse(field, "has another digest than SHA-256, or another name", 'Write <pin digest="SHA-256">.')
    expires = element.attributes.get("expiration")
    last = None if expires is None else day_before(f"{where}: expiration", expires)
    return _PinSet(read_pins(field, [child.text for child in element.children]), last)


def write(written: Written) -> str:
    """Write a configuration with a <domain-config> for each host."""
    lines = ['<?xml version="1.0" encoding="utf-8"?>', f"<{_ROOT}>"]
    for endpoint in written.endpoints:
        expires = f' expiration="{day_after(endpoint.name, endpoint.expires)}"' if endpoint.expires else ""
        lines += [
            "    <domain-config>",
            f'        <domain includeSubdomains="false">{escape(endpoint.host)}</domain>',
            f"        <pin-set{expires}>",
            *(f'            <pin digest="SHA-256">{base64_of(pin)}</pin>' for pin in endpoint.pins),
            "        </pin-set>",
            "    </domain-config>",
        ]
    return "\n".join((*lines, f"</{_ROOT}>", ""))
