"""Log lines as nginx and HAProxy write them for docs/examples, modelled from their sources and held to them in the lab.

Room: tests. Pure.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from detector.origin.logs import _names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

UNPRINTABLE = 0x1F
DELETE = 0x7F


def nginx_json(value: bytes) -> bytes:
    """A value under `escape=json` (ngx_http_log_json_escape): what is not ASCII stays."""
    short = {0x22: rb"\"", 0x5C: rb"\\", 0x0A: rb"\n", 0x0D: rb"\r", 0x09: rb"\t", 0x08: rb"\b", 0x0C: rb"\f"}
    return b"".join(short.get(byte) or (b"\\u%04X" % byte if byte <= UNPRINTABLE else bytes((byte,))) for byte in value)


def nginx_default(value: bytes) -> bytes:
    """A value under the default escape (ngx_http_log_escape)."""
    return b"".join(
        b"\\x%02X" % byte if byte <= UNPRINTABLE or byte >= DELETE or byte in b'"\\' else bytes((byte,))
        for byte in value
    )


def haproxy_json(value: bytes) -> bytes:
    """A value under `json(utf8s)`: what is not UTF-8 is dropped, what is not ASCII escaped, and so is the slash."""
    text = value.decode("utf-8", "ignore")
    escaped = "".join(json.dumps(c)[1:-1] if ord(c) <= 0xFFFF else "" for c in text)
    return escaped.replace("/", "\\/").encode()


def openssl_list(codes: Iterable[int] | None, kind: int) -> str:
    """A list as nginx writes it: OpenSSL's names, and code points of what it does not know."""
    names: dict[int, str] = {}
    for name, code in _names()[kind].items():
        names.setdefault(code, name)
    return ":".join(names.get(code) or f"0x{code:04x}" for code in codes or ())


def hex_list(codes: Iterable[int] | None) -> str:
    """A list as HAProxy's `hex` writes it."""
    return "-" if codes is None else "".join(f"{code:04X}" for code in codes) or "-"


def nginx_line(  # noqa: PLR0913 - the fields of a line
    ciphers: Iterable[int] | None,
    groups: Iterable[int] | None,
    user_agent: bytes = b"",
    *,
    address: str = "192.0.2.7",
    account: str = "",
    sec_ch_ua: bytes = b"",
    escape: Any = nginx_json,  # noqa: ANN401 - one of the two functions above
) -> bytes:
    """A line of docs/examples/nginx.conf."""
    return _line(
        {
            "time": b"2026-11-30T18:08:45+00:00",
            "address": address.encode(),
            "account": escape(account.encode()),
            "ciphers": openssl_list(ciphers, 0).encode(),
            "curves": openssl_list(groups, 1).encode(),
            "user_agent": escape(user_agent),
            "sec_ch_ua": escape(sec_ch_ua),
        }
    )


def haproxy_line(  # noqa: PLR0913 - the fields of a line
    ciphers: Iterable[int] | None,
    groups: Iterable[int] | None,
    extensions: Iterable[int] | None,
    user_agent: bytes = b"",
    *,
    address: str = "192.0.2.7",
    account: str = "-",
    sec_ch_ua: bytes = b"-",
    capture: int = 512,
    prefix: bytes = b"",
) -> bytes:
    """A line of docs/examples/haproxy.cfg."""
    lists = [hex_list(codes) for codes in (ciphers, extensions, groups)]
    return prefix + _line(
        {
            "time": b"2026-11-30T18:08:45Z",
            "address": address.encode(),
            "account": haproxy_json(account.encode()),
            "capture": capture,
            **{name: text.encode() for name, text in zip(("ciphers", "extensions", "groups"), lists, strict=True)},
            "formats": b"00",
            "user_agent": haproxy_json(user_agent),
            "sec_ch_ua": haproxy_json(sec_ch_ua),
        }
    )


def _line(fields: Mapping[str, bytes | int]) -> bytes:
    parts = (
        b'"%s":%d' % (name.encode(), value) if isinstance(value, int) else b'"%s":"%s"' % (name.encode(), value)
        for name, value in fields.items()
    )
    return b"{" + b",".join(parts) + b"}\n"
