"""Which proxy is meant for a host.

Room: probe. Pure: settings and environment are arguments.
"""

from __future__ import annotations

import contextlib
import ipaddress
from typing import TYPE_CHECKING

from detector.errors import ProxyError

from .proxies import Proxy, parse_proxy

if TYPE_CHECKING:
    from collections.abc import Mapping


def proxy_for(host: str, port: int, setting: str, environ: Mapping[str, str]) -> Proxy | None:
    """Choose the proxy for `host` and `port`: None means to connect directly.

    `setting` is `none`, `env`, or a proxy URL. With `env`, the variables HTTPS_PROXY, ALL_PROXY and NO_PROXY (lower
    case first, as curl reads them) of `environ` decide. Raises `ProxyError`.
    """
    if setting == "none":
        return None
    if setting != "env":
        return parse_proxy(setting)
    if _bypassed(host, port, _variable(environ, "no_proxy")):
        return None
    for name in ("https_proxy", "all_proxy"):
        if value := _variable(environ, name):
            return _from_environment(name, value)
    return None


def _from_environment(name: str, value: str) -> Proxy:
    """The proxy that a variable names. Who has one that cannot be used may not know of it, so it is said by name."""
    try:
        return parse_proxy(value)
    except ProxyError as error:
        raise ProxyError(f"{name.upper()} in the environment: {error.message}", advice=error.advice) from None


def _variable(environ: Mapping[str, str], name: str) -> str:
    return (environ.get(name) or environ.get(name.upper()) or "").strip()


def _bypassed(host: str, port: int, rules: str) -> bool:
    """Whether NO_PROXY names this host: `*`, a domain and what is under it, an address, a network; perhaps a port."""
    name = host.strip("[]").rstrip(".").lower()
    return any(bypass_rule_fits(rule.strip().lower(), name, port) for rule in rules.split(",") if rule.strip())


def bypass_rule_fits(rule: str, name: str, port: int) -> bool:
    """Whether an exception in lower case names this host: `*`, a domain and what is under it, an address, a network."""
    if rule == "*":
        return True
    with contextlib.suppress(ValueError):
        network = ipaddress.ip_network(rule.strip("[]"), strict=False)
        with contextlib.suppress(ValueError):
            return ipaddress.ip_address(name.partition("%")[0]) in network
        return False
    domain, separator, rule_port = rule.rpartition(":")
    if separator and rule_port.isdecimal():
        return int(rule_port) == port and bypass_rule_fits(domain, name, port)
    domain = rule.removeprefix("*").lstrip(".").rstrip(".")
    return bool(domain) and (name == domain or name.endswith(f".{domain}"))
