"""Sessions of a log by the network they come from, in constant memory and without an address.

Room: origin. Pure: entries in, counts out.

A network is a /24 of IPv4 or a /48 of IPv6, known by a keyed hash alone (HMAC-SHA-256, RFC 2104); so is a session. The
key is the operator's: who has it can find out whether an address belongs to a network, and nobody else can.

Where sessions are too many, a sample of them is kept, drawn by their hashes: a session is in it with everything that it
showed, or not at all, and a client without the key cannot choose which. The largest networks are thinned first, so that
a flood from one thins that one. What a network showed at all (`shown`) does not depend on the sample.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import ipaddress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .claims import Claims
    from .logs import Entry
    from .offer import Offer

KEY_BYTES_MIN: Final = 16
"""Shortest key: 128 bits cannot be guessed. All addresses of IPv4 can be tried against a hash without a key."""
HASH_BYTES: Final = 8
"""Bytes of a hash of a network or session: two of the 2**24 networks of IPv4 have the same one with a chance of 1 in 10**5."""
PREFIX_BITS: Final = {4: 24, 6: 48}
"""What counts as one network, by IP version: the smallest block that is routed between networks (RFC 7454 section 6.1.3)."""
SESSIONS_MAX: Final = 1 << 17
"""Sessions that are kept of all networks together: about 20 MB. A share of 4,000 of them is known to 2 percent."""
SHOWN_MAX: Final = 1 << 8
"""Different combinations of offer and claims that are kept of one network: a school's devices show some dozens."""
COMBINATIONS_MAX: Final = 1 << 16
"""The same of all networks: browsers of ten years, each under ten versions of a dozen operating systems, are 10**4."""
NETWORKS_MAX: Final = 1 << 15
"""Networks that are kept; a country's schools are fewer."""
ADDRESSES_CACHED: Final = 1 << 14
"""Addresses whose network is remembered while a log is read: the devices of a large exam."""
UNKNOWN: Final = ""
"""The name of the network of entries without an address."""


class Shown:
    """One combination of an offer and claims; equal ones are the same object within a `Networks`."""

    __slots__ = ("claims", "offer")

    def __init__(self, offer: Offer, claims: Claims) -> None:
        self.offer: Final = offer
        self.claims: Final = claims


class Network:
    """What came from one network.

    `shown` counts the entries of each combination, `left_out` those of combinations that were too many. `sessions` has
    the combinations of each session that was kept, by its hash, whose lowest bit says that somebody was signed in; one
    session in `thinned` was kept.
    """

    def __init__(self, name: str) -> None:
        self.name: Final = name
        self.shown: dict[Shown, int] = {}
        self.left_out = 0
        self.sessions: dict[int, tuple[Shown, ...]] = {}
        self.thinned = 1

    def thin(self) -> None:
        """Keep every second session, by a further bit of its hash."""
        self.thinned *= 2
        self.sessions = {key: shown for key, shown in self.sessions.items() if self.keeps(key)}

    def keeps(self, key: int) -> bool:
        """Whether a session is in the sample."""
        return not (key >> 1) % self.thinned

    def people(self) -> list[tuple[Shown, ...]]:
        """Return what each signed-in session showed; each client's, where nobody is signed in.

        A client without a session is an address with a User-Agent, which may be several people or a part of one.
        """
        signed_in = [shown for key, shown in self.sessions.items() if key & 1]
        return signed_in or list(self.sessions.values())

    @property
    def knows_sessions(self) -> bool:
        """Whether anybody was signed in."""
        return any(key & 1 for key in self.sessions)


class Networks:
    """Counts entries by network. `key` is the operator's secret of `KEY_BYTES_MIN` or more; iterate for the result."""

    def __init__(self, key: bytes, *, sessions_max: int = SESSIONS_MAX) -> None:
        self._key: Final = key
        self._sessions_max: Final = sessions_max
        self._networks: Final[dict[str, Network]] = {}
        self._kept = 0
        self._combinations: Final[dict[tuple[bytes, Claims], Shown]] = {}
        self._session_key: Final = hmac.digest(key, b"sessions", "sha256")
        self._name_of: Final = functools.lru_cache(ADDRESSES_CACHED)(self._name)
        self.left_out = 0

    def __iter__(self) -> Iterator[Network]:
        return iter(self._networks.values())

    def add(self, entry: Entry) -> None:
        """Count one entry."""
        name = self._name_of(_block(entry.address))
        network = self._networks.get(name)
        if network is None:
            if len(self._networks) >= NETWORKS_MAX:
                self.left_out += 1
                return
            network = self._networks[name] = Network(name)
        shown = self._shown(network, entry)
        if shown is None:
            network.left_out += 1
            return
        network.shown[shown] = network.shown.get(shown, 0) + 1
        key = self._session(entry)
        if network.keeps(key):
            before = network.sessions.get(key)
            if before is None:
                network.sessions[key] = (shown,)
                self._kept += 1
                if self._kept > self._sessions_max:
                    self._thin()
            elif shown not in before:
                network.sessions[key] = (*before, shown)

    def _shown(self, network: Network, entry: Entry) -> Shown | None:
        """The combination of this entry; None where there is no room for one more."""
        combination = (entry.offer_id, entry.claims)
        shown = self._combinations.get(combination)
        if shown is None and len(self._combinations) < COMBINATIONS_MAX:
            shown = self._combinations[combination] = Shown(entry.offer, entry.claims)
        return shown if shown is not None and (shown in network.shown or len(network.shown) < SHOWN_MAX) else None

    def _thin(self) -> None:
        """Thin the largest networks, until what is kept fits."""
        while self._kept > self._sessions_max:
            largest = max(len(network.sessions) for network in self._networks.values())
            for network in self._networks.values():
                if len(network.sessions) > largest // 2:
                    network.thin()
            self._kept = sum(len(network.sessions) for network in self._networks.values())

    def _session(self, entry: Entry) -> int:
        """The hash of a session, or of a client where nobody is signed in; the lowest bit says which."""
        who = entry.session or f"{entry.address} {entry.claims.family} {entry.claims.major}"
        digest = hashlib.blake2b(who.encode("utf-8", "surrogatepass"), digest_size=HASH_BYTES, key=self._session_key)
        return int.from_bytes(digest.digest()) & ~1 | bool(entry.session)

    def _name(self, block: str) -> str:
        """The name of the network of an address; `UNKNOWN` for what is no address."""
        network = network_of(block)
        return UNKNOWN if network is None else hmac.digest(self._key, network, "sha256")[:HASH_BYTES].hex()


def _block(address: str) -> str:
    """An address that stands for all of its network, where that is seen at once; else the address."""
    start, dot, _ = address.rpartition(".")
    return f"{start}.0" if dot and ":" not in start else address


def network_of(address: str) -> bytes | None:
    """The network of an address as bytes, with the IP version in front; None for what is no address.

    An IPv4 address that is written as IPv6 (RFC 4291 section 2.5.5.2) is the IPv4 address.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address):
        found = found.ipv4_mapped or found
    return bytes((found.version,)) + found.packed[: PREFIX_BITS[found.version] // 8]
