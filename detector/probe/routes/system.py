"""Parsers of the proxy settings of operating systems and desktops.

Room: probe. Pure: the content of a settings store comes in, `SystemProxies` comes out. Nothing raises: an unreadable
setting counts as missing, except for proxy URLs, which are parsed when they are used.
"""

from __future__ import annotations

import ast
import fnmatch
import re
from typing import TYPE_CHECKING, Final

from detector.model import Record

from .proxies import bypass_rule_matches

if TYPE_CHECKING:
    from collections.abc import Mapping

WPAD: Final = "http://wpad/wpad.dat"
"""Where automatic detection finds its file by DNS (draft-ietf-wrec-wpad-01 section 4.5). DHCP is not asked."""

TEXT_CHARACTERS_MAX: Final = 64 * 1024  # characters of settings that are parsed
RULES_MAX: Final = 512  # exceptions from the proxy that are kept

_AUTO_DETECT: Final = 0x08
_FLAGS_OFFSET: Final = 8
"""Windows, `DefaultConnectionSettings`: the ninth byte holds flags; this one means "automatically detect"."""


class SystemProxies(Record, frozen=True, kw_only=True):
    """The proxy settings of a system: a proxy URL for https, exceptions from it, and a PAC file.

    `bypass` are names with wildcards, suffixes, addresses and networks; `bypass_plain` excepts names without a dot.
    `file` takes precedence over `proxy`; `detect` (WPAD) applies where there is no file.
    """

    proxy: str | None = None
    bypass: tuple[str, ...] = ()
    bypass_plain: bool = False
    file: str | None = None
    detect: bool = False

    @property
    def is_set(self) -> bool:
        """Whether there is any setting at all."""
        return self.proxy is not None or self.file is not None or self.detect

    def excepts(self, host: str, port: int) -> bool:
        """Whether `host` is connected to directly."""
        name = host.strip("[]").rstrip(".").lower()
        if self.bypass_plain and "." not in name and ":" not in name:
            return True
        return any(fnmatch.fnmatchcase(name, rule) or bypass_rule_matches(rule, name, port) for rule in self.bypass)


def _rules(found: list[str]) -> tuple[str, ...]:
    return tuple(rule.strip().lower() for rule in found if rule.strip())[:RULES_MAX]


def from_windows(values: Mapping[str, object]) -> SystemProxies:
    """Parse the values of `Internet Settings`, and of `Connections` below it, in the registry of the user.

    Names are `ProxyEnable`, `ProxyServer`, `ProxyOverride`, `AutoConfigURL` and `DefaultConnectionSettings`.
    """
    server, override, file = (_text(values.get(name)) for name in ("ProxyServer", "ProxyOverride", "AutoConfigURL"))
    connections = values.get("DefaultConnectionSettings")
    flags = connections[_FLAGS_OFFSET] if isinstance(connections, bytes) and len(connections) > _FLAGS_OFFSET else 0
    rules = _rules(override.replace(";", " ").split())
    return SystemProxies(
        proxy=_windows_server(server) if values.get("ProxyEnable") in {1, b"\1\0\0\0"} else None,
        bypass=tuple(rule for rule in rules if rule != "<local>"),
        bypass_plain="<local>" in rules,
        file=file or None,
        detect=bool(flags & _AUTO_DETECT),
    )


def _windows_server(text: str) -> str | None:
    """Parse one server for everything, or a list of `scheme=server`; semicolons or blanks separate them.

    An entry without scheme holds for every one that has none of its own. SOCKS is version 4 there.
    """
    by_scheme: dict[str, str] = {}
    for part in text.replace(";", " ").split():
        scheme, separator, server = part.rpartition("=")
        if server:
            by_scheme.setdefault(scheme.lower() if separator else "", server)
    if found := by_scheme.get("https") or by_scheme.get(""):
        return found
    socks = by_scheme.get("socks")
    return socks if socks is None or "://" in socks else f"socks4a://{socks}"


def from_macos(text: str) -> SystemProxies:
    """Parse the output of `scutil --proxy`: the settings of the primary service; those of one interface are nested."""
    values: dict[str, str] = {}
    exceptions: list[str] = []
    inside: list[str] = []  # the names of the dictionaries and lists around a line
    for line in map(str.strip, text[:TEXT_CHARACTERS_MAX].splitlines()):
        key, _, value = (part.strip() for part in line.partition(" : "))
        if line.endswith("{"):
            inside.append(key)
        elif line == "}":
            del inside[-1:]
        elif inside[1:] == ["ExceptionsList"]:
            exceptions.append(value)
        elif not inside[1:]:
            values.setdefault(key, value)

    def server(kind: str) -> str | None:
        enabled = values.get(f"{kind}Enable") == "1"
        return _server(values.get(f"{kind}Proxy", ""), values.get(f"{kind}Port", "")) if enabled else None

    https, socks = server("HTTPS"), server("SOCKS")
    return SystemProxies(
        proxy=https or (f"socks5://{socks}" if socks else None),
        bypass=tuple(map(_whole_network, _rules(exceptions))),
        bypass_plain=values.get("ExcludeSimpleHostnames") == "1",
        file=values.get("ProxyAutoConfigURLString") if values.get("ProxyAutoConfigEnable") == "1" else None,
        detect=values.get("ProxyAutoDiscoveryEnable") == "1",
    )


def _server(host: str, port: object) -> str | None:
    """Join a host and a port as a URL has them; None without a host, without a port where none is set."""
    if not host:
        return None
    bracketed = f"[{host}]" if ":" in host and "[" not in host and "/" not in host else host
    return f"{bracketed}:{port}" if port else bracketed


def _whole_network(rule: str) -> str:
    """Expand a network as macOS abbreviates it: `169.254/16`."""
    address, separator, length = rule.partition("/")
    parts = address.split(".")
    if not separator or not all(part.isdecimal() for part in parts):
        return rule
    return ".".join((*parts, "0", "0", "0")[:4] if len(parts) < 4 else parts) + f"/{length}"  # noqa: PLR2004 - bytes of an IPv4 address


_GNOME_LINE: Final = re.compile(r"org\.gnome\.system\.proxy(?:\.(\w+))? ([\w-]+) (.*)")


def from_gnome(text: str) -> SystemProxies:
    """Parse the output of `gsettings list-recursively org.gnome.system.proxy`."""
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
        return _server(_text(values.get((kind, "host"))), values.get((kind, "port")))

    https, socks = server("https"), server("socks")
    ignored = values.get(("", "ignore-hosts"))
    return SystemProxies(
        proxy=https or (f"socks5://{socks}" if socks else None),
        bypass=_rules([_text(rule) for rule in ignored]) if isinstance(ignored, list) else (),
    )


def _gvariant(text: str) -> object:
    """Parse a value in GVariant's text format, as far as it equals Python's: strings, numbers, lists of them."""
    try:
        return ast.literal_eval(text.removeprefix("@as "))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _text(value: object) -> str:
    return value[:TEXT_CHARACTERS_MAX].strip() if isinstance(value, str) else ""
