"""Name resolution for scans: asynchronous through c-ares where aiodns is installed, and cached either way.

Room: probe. Sends DNS queries.

The system's resolver costs a thread for each lookup, which is too much for a million endpoints. c-ares reads the
system's configuration and hosts file, but not its other sources (mDNS, directory services), whose names it cannot find.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, Protocol

from detector.aio.lazy import LazyModule
from detector.errors import MissingExtraError
from detector.model.validate import PORT_MAX

from .dialing import literal
from .direct import Addresses, Resolver

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import aiodns

    from .direct import AddressInfo
else:
    aiodns = LazyModule("aiodns")  # the extra `scan`

NAMES_MAX: Final = 16384  # names cached; the least recently used is dropped first. Each costs about 1 KiB.
KEEP_SECONDS: Final = 60.0  # how long an answer is cached: a common time to live of CDNs, so that a scan follows them
KEEP_FAILURE_SECONDS: Final = 5.0  # long enough for the ports of one host, short enough for a retry


class Lookup(Protocol):
    """Something that finds the addresses of a name."""

    async def resolve(self, host: str, port: int) -> Sequence[AddressInfo]:
        """Return the addresses of `host`. Raises `OSError`, such as `socket.gaierror`."""


class AsyncLookup:
    """Lookups through c-ares, with the options of `aiodns.DNSResolver`. Raises `MissingExtraError` without aiodns."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - another library's
        try:
            self._failure: type[Exception] = aiodns.error.DNSError
        except ImportError as error:
            raise MissingExtraError("Asynchronous name resolution needs aiodns.", extra="scan") from error
        self._make: Callable[[], aiodns.DNSResolver] = lambda: aiodns.DNSResolver(**options)
        self._resolver: aiodns.DNSResolver | None = None

    async def resolve(self, host: str, port: int) -> Sequence[AddressInfo]:
        """Return the addresses of `host`, bounded. Raises `socket.gaierror`."""
        if self._resolver is None:
            self._resolver = self._make()  # belongs to the event loop it is made in
        try:
            found = await self._resolver.getaddrinfo(host, port=port, type=socket.SOCK_STREAM)
        except self._failure as error:
            raise socket.gaierror(socket.EAI_NONAME, "c-ares found no address") from error
        return Addresses.bounded(
            [
                (node.family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (node.addr[0].decode(), *node.addr[1:]))
                for node in found.nodes
            ]
        )

    async def close(self) -> None:
        """Close the resolver's sockets."""
        if self._resolver is not None:
            await self._resolver.close()
            self._resolver = None


class CachingResolver(Resolver):
    """Caches the answers of `lookup` (default: the system's resolver), with one lookup at a time for each name."""

    def __init__(self, lookup: Lookup | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._lookup: Lookup = lookup or Resolver()
        self._clock = clock
        self._answers: OrderedDict[str, tuple[float, Addresses | OSError]] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Addresses]] = {}

    @property
    def c_ares(self) -> bool:
        """Whether lookups go through c-ares, and not the system."""
        return isinstance(self._lookup, AsyncLookup)

    async def resolve(self, host: str, port: int) -> Addresses:
        """Resolve as `Resolver.resolve`."""
        if not 0 < port <= PORT_MAX or literal(host) is not None:
            return await super().resolve(host, port)
        name = host.rstrip(".").lower()
        answer = self._cached(name)
        if answer is None:
            answer = await self._ask(name)
        if isinstance(answer, OSError):
            raise socket.gaierror(*answer.args) from answer
        return answer.at_port(port)

    def _cached(self, name: str) -> Addresses | OSError | None:
        if name not in self._answers:
            return None
        until, answer = self._answers[name]
        if self._clock() >= until:
            del self._answers[name]
            return None
        self._answers.move_to_end(name)
        return answer

    async def _ask(self, name: str) -> Addresses | OSError:
        task = self._asking.get(name)
        if task is None:
            # A task of its own: one caller that gives up does not cancel it for the others.
            task = asyncio.create_task(self._find(name))
            self._asking[name] = task
            task.add_done_callback(lambda _: self._asking.pop(name, None))
        try:
            return await asyncio.shield(task)
        except OSError as error:
            return error

    async def _find(self, name: str) -> Addresses:
        try:
            found = Addresses.bounded(await self._lookup.resolve(name, 1))  # the port is filled in for each caller
        except OSError as error:
            self._keep(name, error, KEEP_FAILURE_SECONDS)
            raise
        self._keep(name, found, KEEP_SECONDS)
        return found

    def _keep(self, name: str, answer: Addresses | OSError, seconds: float) -> None:
        self._answers[name] = (self._clock() + seconds, answer)
        if len(self._answers) > NAMES_MAX:
            self._answers.popitem(last=False)

    async def close(self) -> None:
        """Cancel running lookups."""
        for task in tuple(self._asking.values()):
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
        if isinstance(self._lookup, AsyncLookup):
            await self._lookup.close()
