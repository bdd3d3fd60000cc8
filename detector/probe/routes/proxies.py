"""A proxy, its URL, and which proxy applies to a host.

Room: probe. Pure: settings and environment are arguments.
"""

from __future__ import annotations

import base64
import contextlib
import ipaddress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

import msgspec

from detector.errors import ProxyError
from detector.model import ProxyObservation, ProxyScheme, Record
from detector.model.validate import HTTPS_PORT

from .dialing import HTTP_PORT

if TYPE_CHECKING:
    from collections.abc import Mapping

SOCKS_PORT: Final = 1080  # port of SOCKS (RFC 1928 section 3)
SOCKS_CREDENTIAL_BYTES_MAX: Final = 255  # longest user name and longest password (RFC 1929 section 2)

_SCHEMES: Final = {
    "http": ProxyScheme.HTTP,
    "https": ProxyScheme.HTTPS,
    "socks": ProxyScheme.SOCKS5,
    "socks4": ProxyScheme.SOCKS4A,
    "socks4a": ProxyScheme.SOCKS4A,
    "socks5": ProxyScheme.SOCKS5,
    "socks5h": ProxyScheme.SOCKS5,
}
"""Schemes as settings write them. The proxy always resolves names: what it connects to is the question."""

_PORTS: Final = {
    ProxyScheme.HTTP: HTTP_PORT,
    ProxyScheme.HTTPS: HTTPS_PORT,
    ProxyScheme.SOCKS4A: SOCKS_PORT,
    ProxyScheme.SOCKS5: SOCKS_PORT,
}


class Proxy(Record, frozen=True, kw_only=True):
    """A proxy: HTTP CONNECT over TCP or over TLS, SOCKS4a or SOCKS5. Credentials never show when it is printed."""

    host: str
    port: int
    username: str | None = None
    password: str | None = None
    scheme: ProxyScheme = ProxyScheme.HTTP

    def __repr__(self) -> str:
        return f"Proxy({self!s})"

    def __str__(self) -> str:
        return self.shown.url

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("url", str(self))]

    @property
    def shown(self) -> ProxyObservation:
        """What may be reported of it: everything but the credentials."""
        return ProxyObservation(scheme=self.scheme, host=self.host, port=self.port)

    def with_credentials(self, username: str, password: str) -> Proxy:
        """Return it with these credentials. Raises `ProxyError` for those that this kind of proxy cannot take."""
        _check_credentials(self.scheme, username, password)
        return msgspec.structs.replace(self, username=username, password=password)

    def authorization(self) -> bytes | None:
        """Return the Proxy-Authorization value for Basic authentication (RFC 7617), if there are credentials."""
        if self.username is None:
            return None
        return b"Basic " + base64.b64encode(f"{self.username}:{self.password or ''}".encode())


def check_file(location: str) -> None:
    """Raise `ProxyError` for what cannot be the URL or path of a proxy auto-configuration file."""
    try:
        parts = urlsplit(location)
        readable = bool(location) and (
            parts.scheme not in {"http", "https"} or bool(parts.hostname and parts.port != 0)
        )
    except ValueError:
        readable = False
    if not readable:
        raise ProxyError(
            "The location of the proxy file cannot be read.",
            advice="Write it as pac:http://host/proxy.pac, or pac: and the path of a file.",
        )


def parse_proxy(text: str) -> Proxy:
    """Parse a proxy URL: `scheme://[user[:password]@]host[:port]`, or `host:port` alone, as environments have it.

    `scheme` is `http`, `https`, `socks4a` (or `socks4`) or `socks5` (or `socks5h`, `socks`). Percent-encoding in the
    credentials is decoded. Raises `ProxyError`, whose text never repeats the credentials.
    """
    url = text.strip()
    if "://" not in url:
        url = f"http://{url}"
    scheme = _SCHEMES.get(url.partition("://")[0].lower())
    if scheme is None:
        raise ProxyError(
            "The proxy URL names an unsupported kind of proxy.",
            advice="Give one as http://, https://, socks4a:// or socks5://host:port, or 'none' to connect directly.",
        )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        username = None if parts.username is None else unquote(parts.username, errors="strict")
        password = None if parts.password is None else unquote(parts.password, errors="strict")
    except ValueError:
        # Not chained: the library's text may repeat a part of the password.
        raise _unreadable_proxy() from None
    if not host or port == 0 or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise _unreadable_proxy()
    if any(character.isspace() or not character.isprintable() for character in host):
        raise _unreadable_proxy()
    _check_credentials(scheme, username, password)
    return Proxy(host=host, port=port or _PORTS[scheme], username=username, password=password, scheme=scheme)


def _check_credentials(scheme: ProxyScheme, username: str | None, password: str | None) -> None:
    """Raise `ProxyError` for credentials that this kind of proxy cannot take."""
    if username is None:
        return
    try:
        longest = max(len(part.encode()) for part in (username, password or ""))
    except UnicodeEncodeError:
        # Not chained: the library's exception holds the text.
        raise _unreadable_proxy() from None
    if scheme in {ProxyScheme.HTTP, ProxyScheme.HTTPS}:
        if ":" in username:
            # RFC 7617 section 2: a user-id with a colon cannot be sent.
            raise _unusable_account("The user name in the proxy URL contains a colon, which HTTP Basic cannot carry.")
    elif longest > SOCKS_CREDENTIAL_BYTES_MAX or not username:
        raise _unusable_account(
            f"SOCKS carries user names and passwords of 1 to {SOCKS_CREDENTIAL_BYTES_MAX} bytes; those in the proxy "
            "URL are not."
        )
    elif scheme is ProxyScheme.SOCKS4A and (password or "\0" in username):
        raise _unusable_account("SOCKS4a carries a user name without null bytes, and no password.")


def _unusable_account(message: str) -> ProxyError:
    return ProxyError(message, advice="Use another account for the proxy.")


def _unreadable_proxy() -> ProxyError:
    return ProxyError(
        "The proxy URL cannot be read.",
        advice="Write it as http://host:port or http://user:password@host:port, with ':', '/', '@' and '%' in the "
        "credentials percent-encoded.",
    )


def proxy_for(host: str, port: int, setting: str, environ: Mapping[str, str]) -> Proxy | None:
    """Choose the proxy for `host` and `port`: None means to connect directly.

    `setting` is `none`, `env`, or a proxy URL. With `env`, the variables HTTPS_PROXY, ALL_PROXY and NO_PROXY (lower
    case first, as curl reads them) of `environ` decide. Raises `ProxyError`.
    """
    if setting == "none":
        return None
    if setting != "env":
        return parse_proxy(setting)
    name = host.strip("[]").rstrip(".").lower()
    rules = (rule.strip().lower() for rule in _variable(environ, "no_proxy").split(","))
    if any(bypass_rule_matches(rule, name, port) for rule in rules if rule):
        return None
    for variable in ("https_proxy", "all_proxy"):
        if value := _variable(environ, variable):
            try:
                return parse_proxy(value)
            except ProxyError as error:  # the caller may not know of the variable, so it is named
                text = f"{variable.upper()} in the environment: {error.message}"
                raise ProxyError(text, advice=error.advice) from None
    return None


def _variable(environ: Mapping[str, str], name: str) -> str:
    return (environ.get(name) or environ.get(name.upper()) or "").strip()


def bypass_rule_matches(rule: str, name: str, port: int) -> bool:
    """Whether a lower-case exception matches a host: `*`, a domain and its subdomains, an address or a network.

    A domain may have a port.
    """
    if rule == "*":
        return True
    with contextlib.suppress(ValueError):
        network = ipaddress.ip_network(rule.strip("[]"), strict=False)
        with contextlib.suppress(ValueError):
            return ipaddress.ip_address(name.partition("%")[0]) in network
        return False
    domain, separator, rule_port = rule.rpartition(":")
    if separator and rule_port.isdecimal():
        return int(rule_port) == port and bypass_rule_matches(domain, name, port)
    domain = rule.removeprefix("*").lstrip(".").rstrip(".")
    return bool(domain) and (name == domain or name.endswith(f".{domain}"))
