"""Where the files of a log come from: an https or http server, or a directory with a copy of them.

Room: ct. Opens connections through a `Dialer`; reads below the directory that is named. What comes is not trusted:
`monitor` verifies it, so that the server's certificate need not be assessed. Somebody in between can keep back, and
change nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit
from urllib.request import url2pathname

from detector.errors import InputError
from detector.model import Endpoint
from detector.model.files import open_regular
from detector.probe.http import https
from detector.probe.http.client import OK, FetchOutcome, Limits, fetch, parse_url

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from detector.probe.routes import Dialer

    DialerFor = Callable[[Endpoint], Awaitable[Dialer]]

WIRE_BYTES_MAX: Final = 15 * 1024 * 1024
"""Bytes of one answer: what the HTTP client takes in pieces. A usual tile of entries has about 1 MiB, compressed half
of that."""
REQUEST_SECONDS: Final = 30.0
"""Seconds that one request may take: 15 MiB at 4 Mbit/s."""
CONNECTION_SECONDS: Final = 30.0
"""Seconds after which another connection is used for new requests; the handshake is then one in hundreds."""
REQUESTS_PER_SECOND: Final = 20.0
"""Requests to one log. 256 entries take two, and the busiest logs grow by some hundreds of entries a second."""
_GZIP: Final = b"\x1f\x8b"
"""How gzip begins (RFC 1952 section 2.3.1). No data tile does (a time of the year 71,000), and no text in UTF-8."""
_GZIP_ALONE: Final = 31
"""`wbits` of zlib for gzip and nothing else, with the largest window."""


class Source(Protocol):
    """The files of one log. `name` is how messages call it."""

    name: str

    async def read(self, path: str, most: int) -> bytes | None:
        """A file of at most `most` bytes; None where it is not available, or larger. Raises nothing."""

    async def close(self) -> None:
        """Close what is open."""


def inflated(data: bytes, most: int) -> bytes | None:
    """A file as it was before it was compressed with gzip, if it was; None where that is damaged or larger."""
    if not data.startswith(_GZIP):
        return data if len(data) <= most else None
    stream = zlib.decompressobj(_GZIP_ALONE)
    try:
        unpacked = stream.decompress(data, most + 1)
    except zlib.error:
        return None
    return unpacked if stream.eof and not stream.unused_data and len(unpacked) <= most else None


class Folder:
    """A directory with a copy of a log."""

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self._folder = folder

    async def read(self, path: str, most: int) -> bytes | None:
        """Read a file of the directory."""
        try:
            with open_regular(self._folder / path) as file:
                data = file.read(most + 1)
        except OSError:
            return None
        return data if len(data) <= most else None

    async def close(self) -> None:
        """Nothing is open."""


class _Web:
    """What both kinds of servers have in common: a prefix, and a limit on the rate of requests."""

    def __init__(self, url: str, dialer_for: DialerFor) -> None:
        self.name = url.rstrip("/")
        self._dialer_for = dialer_for
        self._next = 0.0

    async def _turn(self) -> float:
        """Wait until the next request may be sent; returns the loop's time then."""
        loop = asyncio.get_running_loop()
        if (left := self._next - loop.time()) > 0:
            await asyncio.sleep(left)
        self._next = loop.time() + 1 / REQUESTS_PER_SECOND
        return loop.time()

    async def close(self) -> None:
        """Nothing is open."""


class PlainServer(_Web):
    """A log, or a copy of one, on an http server."""

    async def read(self, path: str, most: int) -> bytes | None:
        """Request a file."""
        url = f"{self.name}/{path}"
        target = parse_url(url)
        if target is None:
            return None
        until = await self._turn() + REQUEST_SECONDS
        dialer = await self._dialer_for(Endpoint(host=target.host, port=target.port))
        limits = Limits(seconds=REQUEST_SECONDS, body_bytes=min(most, WIRE_BYTES_MAX))
        answer = await fetch(url, dialer=dialer, limits=limits, deadline=until)
        return answer.body if answer.outcome is FetchOutcome.ANSWERED and answer.status == OK else None


class Server(_Web):
    """A log on an https server. One connection carries many requests."""

    def __init__(self, url: str, dialer_for: DialerFor) -> None:
        super().__init__(url, dialer_for)
        self._prefix = urlsplit(self.name).path.rstrip("/")
        self._open = contextlib.AsyncExitStack()
        self._server: https.HTTPSServer | None = None
        self._until = 0.0

    async def read(self, path: str, most: int) -> bytes | None:
        """Request a file, again on a new connection where a used one gave nothing: it may have been closed."""
        now = await self._turn()
        is_fresh = self._server is None or now >= self._until
        if is_fresh:
            await self._connect(now)
        body = await self._get(path, most)
        if body is None and not is_fresh:
            await self._connect(await self._turn())
            body = await self._get(path, most)
        return body

    async def _get(self, path: str, most: int) -> bytes | None:
        if self._server is None:
            return None
        limits = Limits(body_bytes=min(most, WIRE_BYTES_MAX))
        (body,) = await self._server.get((f"{self._prefix}/{path}",), limits=limits, encoding="gzip, identity")
        if body is None:
            await self.close()
        return body

    async def _connect(self, now: float) -> None:
        await self.close()
        target = parse_url(self.name, "https")
        if target is None:
            return
        dialer = await self._dialer_for(Endpoint(host=target.host, port=target.port))
        connecting = https.connect(self.name, dialer=dialer, deadline=now + CONNECTION_SECONDS + REQUEST_SECONDS)
        self._server = await self._open.enter_async_context(connecting)
        self._until = now + CONNECTION_SECONDS

    async def close(self) -> None:
        """Close the connection."""
        self._server = None
        await self._open.aclose()


def open_server(url: str, dialer_for: DialerFor) -> Source:
    """The source at an https or http URL. Raises `InputError`."""
    if "?" not in url and parse_url(url, "https") is not None:
        return Server(url, dialer_for)
    if "?" not in url and parse_url(url) is not None:
        return PlainServer(url, dialer_for)
    raise InputError(
        "The address is not the URL of a log.", advice="Write https://HOST/PATH, without credentials and query."
    )


def open_source(place: str, dialer_for: DialerFor) -> Source:
    """The source at a URL (https, http or file) or in a directory. Raises `InputError`."""
    scheme = place.partition(":")[0].lower()
    if scheme in {"http", "https"}:
        return open_server(place, dialer_for)
    if scheme == "file":
        place = url2pathname(urlsplit(place).path)
    folder = Path(place)
    if not folder.is_dir():
        raise InputError(f"{place!r} is not a directory.", advice="Name a directory with a copy of a log, or a URL.")
    return Folder(folder)
