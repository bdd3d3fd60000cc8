"""Name resolution for scans: asynchronous through c-ares where aiodns is installed, and cached either way.

Room: probe. Sends DNS queries; judges nothing.

The system's resolver costs a thread for each lookup, which is right for a few endpoints and wrong for a million. c-ares
reads the system's configuration and hosts file, but not what else the system may ask (mDNS, directory services): names
that only those know are not found here.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, Protocol

from detector.errors import MissingExtraError

from . import ADDRESSES_MAX, PORT_MAX, Resolver

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from . import AddressInfo

NAMES_MAX: Final = 16384
"""Names remembered; the one used longest ago is forgotten first. Each costs about 1 KiB."""

KEEP_SECONDS: Final = 60.0
"""How long an answer is used again: what CDNs commonly give as their time to live, so that a scan follows them."""

KEEP_FAILURE_SECONDS: Final = 5.0
"""How long a failure is used again: long enough for the ports of one host, short enough for a retry."""


class Lookup(Protocol):
    """Anything that finds the addresses of a name."""

    async def resolve(self, host: str, port: int) -> Sequence[AddressInfo]:
        """Addresses of `host`. Raises `OSError` (`socket.gaierror` among them)."""


class AsyncLookup:
    """Lookups through c-ares. `options` are those of `aiodns.DNSResolver`, such as `nameservers`.

    Raises `MissingExtraError` where aiodns is not installed.
    """

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - another library's
        try:
            import aiodns  # noqa: PLC0415 - the extra `scan`
        except ImportError as error:
            raise MissingExtraError("Asynchronous name resolution needs aiodns.", extra="scan") from error
        self._failure: type[Exception] = aiodns.error.DNSError
        self._make: Callable[[], aiodns.DNSResolver] = lambda: aiodns.DNSResolver(**options)
        self._resolver: aiodns.DNSResolver | None = None

    async def resolve(self, host: str, port: int) -> Sequence[AddressInfo]:
        """Addresses of `host`, at most `ADDRESSES_MAX`. Raises `socket.gaierror`."""
        if self._resolver is None:
            self._resolver = self._make()  # belongs to the event loop it is made in
        try:
            found = await self._resolver.getaddrinfo(host, port=port, type=socket.SOCK_STREAM)
        except self._failure as error:
            raise socket.gaierror(socket.EAI_NONAME, "c-ares found no address") from error
        return tuple(
            (node.family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (node.addr[0].decode("ascii"), *node.addr[1:]))
            for node in found.nodes[:ADDRESSES_MAX]
        )

    async def close(self) -> None:
        """Let go of the resolver's sockets."""
        if self._resolver is not None:
            await self._resolver.close()
            self._resolver = None


class CachingResolver(Resolver):
    """Remembers what `lookup` (default: the system's resolver) answers, and asks only once at a time for one name."""

    def __init__(self, lookup: Lookup | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._lookup: Lookup = lookup or Resolver()
        self._clock = clock
        self._answers: OrderedDict[str, tuple[float, Sequence[AddressInfo] | OSError]] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Sequence[AddressInfo]]] = {}

    @property
    def c_ares(self) -> bool:
        """Whether c-ares is asked, and not the system."""
        return isinstance(self._lookup, AsyncLookup)

    async def resolve(self, host: str, port: int) -> Sequence[AddressInfo]:
        """As `Resolver.resolve`."""
        if not 0 < port <= PORT_MAX or _is_address(host):
            return await super().resolve(host, port)
        name = host.rstrip(".").lower()
        answer = self._remembered(name)
        if answer is None:
            answer = await self._ask(name)
        if isinstance(answer, OSError):
            raise socket.gaierror(*answer.args) from answer
        return tuple(
            (family, kind, protocol, canonical, (address[0], port, *address[2:]))
            for family, kind, protocol, canonical, address in answer
        )

    def _remembered(self, name: str) -> Sequence[AddressInfo] | OSError | None:
        if name not in self._answers:
            return None
        until, answer = self._answers[name]
        if self._clock() >= until:
            del self._answers[name]
            return None
        self._answers.move_to_end(name)
        return answer

    async def _ask(self, name: str) -> Sequence[AddressInfo] | OSError:
        task = self._asking.get(name)
        if task is None:
            # A task of its own, so that one waiter who gives up does not take the answer from the others.
            task = asyncio.create_task(self._find(name))
            self._asking[name] = task
            task.add_done_callback(lambda _: self._asking.pop(name, None))
        try:
            return await asyncio.shield(task)
        except OSError as error:
            return error

    async def _find(self, name: str) -> Sequence[AddressInfo]:
        try:
            found = await self._lookup.resolve(name, 1)  # the port is put in for each question
        except OSError as error:
            self._keep(name, error, KEEP_FAILURE_SECONDS)
            raise
        self._keep(name, found, KEEP_SECONDS)
        return found

    def _keep(self, name: str, answer: Sequence[AddressInfo] | OSError, seconds: float) -> None:
        self._answers[name] = (self._clock() + seconds, answer)
        if len(self._answers) > NAMES_MAX:
            self._answers.popitem(last=False)

    async def close(self) -> None:
        """End what is still being asked."""
        for task in tuple(self._asking.values()):
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
        if isinstance(self._lookup, AsyncLookup):
            await self._lookup.close()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return False
    return True
