"""The proxy settings of operating systems and desktops, as they are written down there.

Room: probe. Pure: what a store holds comes in, `SystemProxies` comes out; `session.machine_proxy` reads the stores.
Nothing raises: a setting that cannot be read is as if it were not there, but for proxy URLs, which are read when they
are used.
"""

from __future__ import annotations

import ast
import fnmatch
import re
from typing import TYPE_CHECKING, Final

from detector.model import Record

from .settings import bypass_rule_fits

if TYPE_CHECKING:
    from collections.abc import Mapping

WPAD: Final = "http://wpad/wpad.dat"
"""Where automatic detection finds its file by DNS (draft-ietf-wrec-wpad-01 section 4.5). What DHCP would name is not
known here."""

TEXT_CHARACTERS_MAX: Final = 64 * 1024
"""Characters of settings that are read."""

RULES_MAX: Final = 512
"""Exceptions from the proxy that are kept."""

_AUTO_DETECT: Final = 0x08
_FLAGS_OFFSET: Final = 8
"""Windows, `DefaultConnectionSettings`: the ninth octet holds flags, of which this one says "automatically detect"."""


class SystemProxies(Record, frozen=True, kw_only=True):
    """What a system is set to: a proxy URL for https, hosts that are gone to directly, and a file that chooses.

    `bypass` are exceptions: names with wildcards, suffixes, addresses, networks. `bypass_plain` excepts names without
    a dot. `file` goes before `proxy`; `detect` is for when there is no file.
    """

    proxy: str | None = None
    bypass: tuple[str, ...] = ()
    bypass_plain: bool = False
    file: str | None = None
    detect: bool = False

    @property
    def says_something(self) -> bool:
        """Whether there is any setting at all."""
        return self.proxy is not None or self.file is not None or self.detect

    def excepts(self, host: str, port: int) -> bool:
        """Whether `host` is gone to directly."""
        name = host.strip("[]").rstrip(".").lower()
        if self.bypass_plain and "." not in name and ":" not in name:
            return True
        return any(fnmatch.fnmatchcase(name, rule) or bypass_rule_fits(rule, name, port) for rule in self.bypass)


def _rules(found: list[str]) -> tuple[str, ...]:
    return tuple(rule.strip().lower() for rule in found if rule.strip())[:RULES_MAX]


def from_windows(values: Mapping[str, object]) -> SystemProxies:
    """Read the values of `Internet Settings`, and of `Connections` below it, in the registry of the user.

    Names are `ProxyEnable`, `ProxyServer`, `ProxyOverride`, `AutoConfigURL` and `DefaultConnectionSettings`.
    """
    server, override, file = (_text(values.get(name)) for name in ("ProxyServer", "ProxyOverride", "AutoConfigURL"))
    connections = values.get("DefaultConnectionSettings")
    flags = connections[_FLAGS_OFFSET] if isinstance(connections, bytes) and len(connections) > _FLAGS_OFFSET else 0
    rules = _rules(override.split(";"))
    return SystemProxies(
        proxy=_windows_server(server) if values.get("ProxyEnable") == 1 else None,
        bypass=tuple(rule for rule in rules if rule != "<local>"),
        bypass_plain="<local>" in rules,
        file=file or None,
        detect=bool(flags & _AUTO_DETECT),
    )


def _windows_server(text: str) -> str | None:
    """One server for everything, or `scheme=server` by scheme with semicolons between."""
    if "=" not in text:
        return text.strip() or None
    by_scheme = {
        scheme.strip().lower(): server.strip()
        for scheme, separator, server in (part.partition("=") for part in text.split(";"))
        if separator
    }
    if server := by_scheme.get("https"):
        return server
    return f"socks5://{socks.rpartition('://')[2]}" if (socks := by_scheme.get("socks")) else None


def from_macos(text: str) -> SystemProxies:
    """Read what `scutil --proxy` prints."""
    values: dict[str, str] = {}
    exceptions: list[str] = []
    for line in text[:TEXT_CHARACTERS_MAX].splitlines():
        key, separator, value = line.strip().partition(" : ")
        if separator and key.isdecimal():
            exceptions.append(value)
        elif separator:
            values.setdefault(key, value)

    def server(kind: str) -> str | None:
        host = values.get(f"{kind}Proxy")
        return (
            f"{host}:{values.get(f'{kind}Port', '')}".rstrip(":")
            if values.get(f"{kind}Enable") == "1" and host
            else None
        )

    https, socks = server("HTTPS"), server("SOCKS")
    return SystemProxies(
        proxy=https or (f"socks5://{socks}" if socks else None),
        bypass=tuple(map(_whole_network, _rules(exceptions))),
        bypass_plain=values.get("ExcludeSimpleHostnames") == "1",
        file=values.get("ProxyAutoConfigURLString") if values.get("ProxyAutoConfigEnable") == "1" else None,
        detect=values.get("ProxyAutoDiscoveryEnable") == "1",
    )


def _whole_network(rule: str) -> str:
    """Write out a network as macOS shortens it: `169.254/16`."""
    address, separator, length = rule.partition("/")
    octets = address.split(".")
    if not separator or not all(octet.isdecimal() for octet in octets):
        return rule
    return ".".join((*octets, "0", "0", "0")[:4] if len(octets) < 4 else octets) + f"/{length}"  # noqa: PLR2004 - octets of IPv4


_GNOME_LINE: Final = re.compile(r"org\.gnome\.system\.proxy(?:\.(\w+))? ([\w-]+) (.*)")


def from_gnome(text: str) -> SystemProxies:
    """Read what `gsettings list-recursively org.gnome.system.proxy` prints."""
    values: dict[tuple[str, str], object] = {}
    for line in text[:TEXT_CHARACTERS_MAX].splitlines():
        found = _GNOME_LINE.fullmatch(line.strip())
        if found is not None:
            values[found[1] or "", found[2]] = _gvariant(found[3])
    mode = values.get(("", "mode"))
    if mode == "auto":
        file = _text(values.get(("", "autoconfig-url")))
        return SystemProxies(file=file or None, detect=not file)
    if mode != "manual":
        return SystemProxies()

    def server(kind: str) -> str | None:
        host, port = _text(values.get((kind, "host"))), values.get((kind, "port"))
        return f"{host}:{port}" if host and isinstance(port, int) and port else None

    https, socks = server("https"), server("socks")
    ignored = values.get(("", "ignore-hosts"))
    return SystemProxies(
        proxy=https or (f"socks5://{socks}" if socks else None),
        bypass=_rules([_text(rule) for rule in ignored]) if isinstance(ignored, list) else (),
    )


def _gvariant(text: str) -> object:
    """Read a value in GVariant's text format, as far as it looks like Python's: strings, numbers, lists of them."""
    try:
        return ast.literal_eval(text.removeprefix("@as "))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _text(value: object) -> str:
    return value[:TEXT_CHARACTERS_MAX].strip() if isinstance(value, str) else ""
