"""What a log shows of each network, in constant memory and without an address.

Room: origin. Pure: entries in, shares and judgments out.

A network is a /24 of IPv4 or a /48 of IPv6, known by a keyed hash alone (HMAC-SHA-256, RFC 2104). The key is the
operator's: with it one can find out which network a name stands for, without it one cannot.

`sessions` assesses what a network shows. This module adds how much of the network shows it: clients are counted by
keyed hashes that are forgotten with the process. A client is an account, or where nobody signed in an address and a
browser. Where they are too many, a sample of them is kept: a client is in it with everything it showed, or not at all,
and without the key none can choose which. The largest networks are thinned first, so that a flood thins its own
network. What contradicts a browser is assessed in any case, sampled or not.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import hmac
import ipaddress
from typing import TYPE_CHECKING, Final, NamedTuple

from detector.knowledge.browser_offers import Family
from detector.knowledge.data_set import shipped

from .assess import contradicted
from .sessions import ACCOUNTS_MAX, NETWORKS_MAX, Session, Sessions
from .shares import at_least, interval

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from detector.knowledge.browser_offers import BrowserOffers

    from .assess import Judgment
    from .claims import Claims
    from .logs import Entry

    _Combination = tuple[bytes, Claims, Family | None]

KEY_BYTES_MIN: Final = 16
"""Shortest key: 128 bits cannot be guessed. All addresses of IPv4 can be tried against a hash without a key."""
HASH_BYTES: Final = 8
"""Bytes of a hash: two of the 2**24 networks of IPv4 have the same one with a chance of 1 in 10**5."""
PREFIX_BITS: Final = {4: 24, 6: 48}
"""What counts as one network, by IP version: the smallest block that networks announce to each other (RFC 7454
section 6.1.3)."""
CLIENTS_MAX: Final = 1 << 17
"""Clients that are kept of all networks together: about 15 MB. The share of 4,000 of them is known to 2 percent."""
COMBINATIONS_MAX: Final = 1 << 8
"""Different combinations of offer and claims that are assessed of one network: a school's devices show some dozens."""
ASSESSED_MAX: Final = 1 << 17
"""The same of all networks together: about 40 MB, where a thousand networks are that different."""
REMEMBERED_MAX: Final = 1 << 14
"""Addresses, and combinations of offer and claims, of which it is remembered what they mean."""
UNKNOWN: Final = ""
"""The name of the network of entries without an address."""
DEVICES_SHARE: Final = 0.11
"""Share of ordinary clients whose connections something on their own device or at home intercepts: the highest that was
measured at servers (10.9 %, Durumeric et al., NDSS 2017)."""
DEVICES_CHANCE: Final = 0.001
"""How unlikely it must be that so many such clients meet in one network, before it counts as the network's."""


class Extent(enum.StrEnum):
    """How much of a network shows something."""

    NETWORK = "network"  # more clients than single devices explain
    DEVICES = "devices"  # not more than single devices explain
    NOTHING = "nothing"


class Share(NamedTuple):
    """How many clients contradict their browser, with the exact interval of the share.

    `signed_in` says that clients are accounts, `sampled` that one client in so many was counted.
    """

    contradicting: int
    clients: int
    signed_in: bool
    sampled: int = 1

    @property
    def interval(self) -> tuple[float, float]:
        """The lowest and the highest share that these numbers agree with."""
        return interval(self.contradicting, self.clients)

    @property
    def extent(self) -> Extent:
        """Whether single devices explain it."""
        if not self.contradicting:
            return Extent.NOTHING
        is_chance = at_least(self.contradicting, self.clients, DEVICES_SHARE) >= DEVICES_CHANCE
        return Extent.DEVICES if is_chance else Extent.NETWORK


class Network(NamedTuple):
    """One network: its name, what it shows, and how much of it does."""

    name: str
    judgment: Judgment
    share: Share


_FULL: Final = set(range(ACCOUNTS_MAX))
"""Takes no further client."""


class _Clients:
    """The clients of one network by their hashes, whose lowest bit says that they are accounts."""

    def __init__(self) -> None:
        self.contradicts: dict[int, bool] = {}
        self.sampled = 1
        self.assessed: dict[_Combination, set[int]] = {}

    def thin(self) -> None:
        """Keep every second client, by a further bit of its hash."""
        self.sampled *= 2
        self.contradicts = {client: found for client, found in self.contradicts.items() if self.keeps(client)}

    def keeps(self, client: int) -> bool:
        """Whether a client is in the sample."""
        return not (client >> 1) % self.sampled


class Networks:
    """Takes the entries of a log; `found` says what they show.

    `key` is a secret of `KEY_BYTES_MIN` bytes or more. `nothing_in_between` as in `Sessions`. `left_out` counts entries
    of networks, and of combinations of offer and claims, that were too many.
    """

    def __init__(
        self,
        key: bytes,
        *,
        nothing_in_between: bool = False,
        data: BrowserOffers | None = None,
        clients_max: int = CLIENTS_MAX,
    ) -> None:
        known = shipped().browser_offers if data is None else data
        self._key: Final = key
        self._client_key: Final = hmac.digest(key, b"clients", "sha256")
        self._clients_max: Final = clients_max
        self._sessions: Final = Sessions(nothing_in_between=nothing_in_between, data=known)
        self._networks: Final[dict[str, _Clients]] = {}
        self._kept = 0
        self._assessed = 0
        self._name_of: Final = functools.lru_cache(REMEMBERED_MAX)(self._name)
        self._contradictions: Final[dict[tuple[bytes, Claims], bool]] = {}
        self._known: Final = known
        self.left_out = 0

    def add(self, entry: Entry) -> None:
        """Count one entry."""
        claims = entry.claims
        if claims.family is Family.UNKNOWN:
            return
        name = self._name_of(_block(entry.address))
        clients = self._networks.get(name)
        if clients is None:
            if len(self._networks) >= NETWORKS_MAX:
                self.left_out += 1
                return
            clients = self._networks[name] = _Clients()
        combination, client = (entry.offer_id, claims), self._client(entry)
        assessed = clients.assessed.get((*combination, entry.engine))
        if assessed is None:
            assessed = self._begin(clients, combination, entry)
        if client not in assessed and len(assessed) < ACCOUNTS_MAX:
            assessed.add(client)
            account = f"{client:x}" if entry.account and name != UNKNOWN else None
            self._sessions.add(
                Session(network=name, account=account, offer=entry.offer, claims=claims, engine=entry.engine)
            )
        if clients.keeps(client):
            before = clients.contradicts.get(client)
            if not before:
                clients.contradicts[client] = self._contradicts(combination, entry)
            if before is None:
                self._kept += 1
                if self._kept > self._clients_max:
                    self._thin()

    def found(self) -> Iterator[Network]:
        """Yield every network with a browser in it, in the order in which they were first seen."""
        for assessed in self._sessions.judgments():
            yield Network(assessed.network, assessed.judgment, _share([self._networks[assessed.network]]))

    def share(self) -> Share:
        """The share of the clients of all networks."""
        return _share(list(self._networks.values()))

    def _begin(self, clients: _Clients, combination: tuple[bytes, Claims], entry: Entry) -> set[int]:
        """The clients of a combination that is new in its network: nobody yet, or a full set where there is no room.

        What contradicts a browser has room in any case, so that a flood of inconspicuous hellos does not hide it.
        """
        begun = set[int]()
        is_crowded = len(clients.assessed) >= COMBINATIONS_MAX
        if self._assessed >= ASSESSED_MAX or (is_crowded and not self._contradicts(combination, entry)):
            self.left_out += 1
            return _FULL
        if is_crowded:
            return begun
        self._assessed += 1
        clients.assessed[*combination, entry.engine] = begun
        return begun

    def _contradicts(self, combination: tuple[bytes, Claims], entry: Entry) -> bool:
        found = self._contradictions.get(combination)
        if found is None:
            if len(self._contradictions) >= REMEMBERED_MAX:
                self._contradictions.clear()
            found = bool(contradicted(entry.offer, entry.claims, self._known))
            self._contradictions[combination] = found
        return found

    def _thin(self) -> None:
        """Thin the largest networks, until what is kept fits."""
        while self._kept > self._clients_max:
            largest = max(len(clients.contradicts) for clients in self._networks.values())
            for clients in self._networks.values():
                if len(clients.contradicts) > largest // 2:
                    clients.thin()
            self._kept = sum(len(clients.contradicts) for clients in self._networks.values())

    def _client(self, entry: Entry) -> int:
        who = entry.account or f"{entry.address} {entry.claims.family} {entry.claims.major}"
        digest = hashlib.blake2b(who.encode("utf-8", "surrogatepass"), digest_size=HASH_BYTES, key=self._client_key)
        return int.from_bytes(digest.digest()) & ~1 | bool(entry.account)

    def _name(self, block: str) -> str:
        network = network_of(block)
        return UNKNOWN if network is None else hmac.digest(self._key, network, "sha256")[:HASH_BYTES].hex()


def _share(networks: Sequence[_Clients]) -> Share:
    """The share of the clients of some networks, as a sample that is as thin as that of the thinnest of them."""
    sampled = max((clients.sampled for clients in networks), default=1)
    kept = [
        (client, found)
        for clients in networks
        for client, found in clients.contradicts.items()
        if not (client >> 1) % sampled
    ]
    accounts = [found for client, found in kept if client & 1]
    counted = accounts or [found for _, found in kept]
    return Share(sum(counted), len(counted), bool(accounts), sampled)


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
