"""Where TLS ends early: on this device, at the configured proxy, or in the network, and what that rests on.

Room: judge. Pure: observations and findings in, a locality and its basis out. Without a sign it is unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detector.model import PROXIED, Engine, Locality

from .checks import browser_view, machine_root, tls_location
from .facts import Facts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.model import Finding, Observation

ON_DEVICE: Final = frozenset({"endpoint-security", "parental-control", "adware-malware"})
"""Catalogue categories of products that are installed on the machine they filter."""
IN_NETWORK: Final = frozenset({"network-appliance", "cloud-proxy", "state-interception", "captive-portal"})
"""Catalogue categories of products that stand between machines. School filters come in both forms."""
LOCAL_CONNECT_MS: Final = 1.0
"""Milliseconds in which a TCP connection within one machine is made; measured on loopback: 0.05 to 0.8."""
REMOTE_CONNECT_MS: Final = 4.0
"""Milliseconds below which a connection may still be to the local network: a round trip over Wi-Fi takes 2 to 10."""

FIRST_REMOTE_HOP: Final = 2
"""The first hop that is not this device: at hop 1, software on the device may answer before anything leaves it."""


def locate(  # noqa: PLR0911 - one return per basis
    observation: Observation, category: str, findings: Sequence[Finding] = (), typical_connect_ms: float | None = None
) -> tuple[Locality, str]:
    """Return where the interceptor of one endpoint is, and the basis for it.

    `category` is the catalogue's of the product, `unknown` when none matches; `findings` are those on this endpoint.
    `typical_connect_ms` is how long connections to clean endpoints of this network take, in milliseconds.
    """
    facts = Facts(findings)
    if observation.route in PROXIED:
        proxy = observation.peer
        if proxy is not None and proxy.ip is not None and proxy.ip.is_loopback:
            return Locality.THIS_DEVICE, "the configured proxy runs on this device"
        return Locality.CONFIGURED_PROXY, "everything goes through the configured proxy"
    if (located := _located_in_network(findings)) is not None:
        return Locality.NETWORK, located
    if facts.has(machine_root.Outcome.MADE_HERE):
        return Locality.THIS_DEVICE, "its root was made on this device when it was installed"
    if category in ON_DEVICE:
        return Locality.THIS_DEVICE, f"products of the category {category} run on the device they filter"
    if _answers_like_loopback(observation, typical_connect_ms):
        return Locality.THIS_DEVICE, "the connection is answered as fast as within this device, other hosts are not"
    if category in IN_NETWORK:
        return Locality.NETWORK, f"products of the category {category} stand in the network"
    if observation.engine is Engine.BROWSER and facts.has(browser_view.Outcome.ONLY_BROWSER_HERE):
        return Locality.THIS_DEVICE, "only the browser is decrypted: this program goes the same way and is not"
    return Locality.UNKNOWN, "nothing indicates it"


def _located_in_network(findings: Sequence[Finding]) -> str | None:
    """The sentence on the traced hop, where that is past the first one; this device itself may answer at that."""
    early = (f for f in findings if Facts([f]).has(tls_location.Outcome.ANSWERED_EARLY))
    located = next(early, None)
    if located is None or located.data["hop"] < FIRST_REMOTE_HOP:
        return None
    return located.summary.rstrip(".")


def _answers_like_loopback(observation: Observation, typical_connect_ms: float | None) -> bool:
    own = observation.timings_ms.get("connect")
    if own is None or typical_connect_ms is None:
        return False
    return own < LOCAL_CONNECT_MS and typical_connect_ms > REMOTE_CONNECT_MS
