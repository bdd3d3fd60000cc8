"""Brings the bytes of a repository: over the guarded connector, or from a directory or a `file:` URL.

Room: update. Opens connections through `guard`, and reads files below the directory that is named. Nothing here decides
whether bytes are genuine; both fetchers only bound them in time and number, and say in one sentence what went wrong.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

import aiohttp
from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import FetcherInterface

from detector.errors import GuardError, InputError, UpdateError
from detector.guard import GuardedConnector
from detector.model.files import open_regular, reason_of

from .targets import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from types import TracebackType
    from typing import Self

DEADLINE_DEFAULT: Final = 120.0
"""Seconds for one update. A set has under 1.5 MB: two minutes are enough at 100 kbit/s."""
FILES_MAX: Final = 1280
"""Files fetched in one update: 64 roots, the metadata of four roles and 16 vendors, and 64 files of each role."""
CHUNK_BYTES: Final = 64 * 1024
"""Bytes read at once from a file: what aiohttp gives at once from a connection."""
CLOSED_NETWORK: Final = "Or bring a copy made with `detector data export`, and name its directory: --from DIR."
URL_CHARACTERS_MAX: Final = 256
"""Characters in a repository's URL, as a manifest takes them (`detector.knowledge.store.Manifest`)."""
_NOT_FOUND: Final = 404
_MISSING: Final = frozenset({403, _NOT_FOUND})
"""Answers for a file that does not exist: some object stores answer 403 then. The next root is asked for until one."""
_OK: Final = 200
T = TypeVar("T")


class Fetcher(FetcherInterface):
    """What both fetchers have in common: a context manager that counts files and knows when to end.

    `place` names the repository in messages, `base` precedes every name of a file.
    """

    def __init__(
        self, place: str, base: str = "", *, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.place: Final = place
        self.base: Final = base
        self._seconds: Final = seconds
        self._clock: Final = clock
        self._until: Final = clock() + seconds
        self._files = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close what is open."""

    def remaining(self) -> float:
        """Seconds until the update must have ended. Raises `UpdateError` when there are none."""
        remaining = self._until - self._clock()
        if remaining <= 0:
            raise UpdateError(
                f"{self.place}: not fetched within {self._seconds:g} seconds.",
                advice=f"The set in use stays. Try again, or allow more time: --deadline. {CLOSED_NETWORK}",
            )
        return remaining

    def count(self) -> None:
        """Count one more file. Raises `UpdateError` when there are more than any repository needs."""
        self._files += 1
        if self._files > FILES_MAX:
            raise UpdateError(
                f"{self.place}: more than {FILES_MAX} files were needed, which no repository of the knowledge has.",
                advice="The set in use stays. Tell the publisher of the repository.",
            )


class DirectoryFetcher(Fetcher):
    """Reads a repository from a directory: what `detector data export` wrote, or a mirror. Its URLs are relative."""

    def __init__(self, folder: Path, *, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(str(folder), seconds=seconds, clock=clock)
        self._folder: Final = folder
        if not (folder / "metadata").is_dir():
            raise InputError(
                f"{folder}: not a repository of the knowledge: it has no directory `metadata`.",
                advice="Name a directory that `detector data export` wrote, or a mirror of a repository.",
            )

    def _fetch(self, url: str) -> Iterator[bytes]:
        self.count()
        path = self._folder / url
        try:
            with open_regular(path) as file:
                while chunk := file.read(CHUNK_BYTES):
                    self.remaining()
                    yield chunk
        except (FileNotFoundError, NotADirectoryError) as error:
            raise DownloadHTTPError(url, _NOT_FOUND) from error
        except OSError as error:
            raise UpdateError(
                f"{path}: cannot be read ({reason_of(error)}).",
                advice="The set in use stays. Make the file readable, or copy the repository again.",
            ) from error


class GuardedFetcher(Fetcher):
    """Fetches a repository over HTTPS, on connections that the guard has assessed: an interceptor is sent no request.

    `connect` makes the connector, in the event loop that this fetcher runs for itself.
    """

    def __init__(
        self,
        url: str,
        connect: Callable[[], GuardedConnector] = GuardedConnector,
        *,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(url, f"{url}/", seconds=seconds, clock=clock)
        self._connect: Final = connect
        self._runner: Final = asyncio.Runner()
        self._session: aiohttp.ClientSession | None = None
        self._response: aiohttp.ClientResponse | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections and the event loop."""
        try:
            if self._response is not None:  # of a file that was too long, and not read to its end
                self._response.close()
            if self._session is not None:
                self._runner.run(self._session.close())
        finally:
            self._runner.close()

    def _fetch(self, url: str) -> Iterator[bytes]:
        self.count()
        self._response = response = self._translated(url, self._open)
        try:
            while chunk := self._translated(url, lambda _: response.content.read(CHUNK_BYTES)):
                yield chunk
        finally:
            response.close()

    def _translated(self, url: str, make: Callable[[str], Coroutine[None, None, T]]) -> T:
        """Run one step within the deadline. Raises `UpdateError` and `DownloadHTTPError`, and nothing of aiohttp."""
        remaining = self.remaining()

        async def bounded() -> T:
            async with asyncio.timeout(remaining):
                return await make(url)

        try:
            return self._runner.run(bounded())
        except GuardError as error:
            raise UpdateError(
                f"{url}: {error.message}", advice=f"The set in use stays. {error.advice} {CLOSED_NETWORK}"
            ) from error
        except TimeoutError as error:
            self.remaining()
            raise self._unreachable(url, "no answer in time") from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._unreachable(url, shown(str(error)) or type(error).__name__) from error

    async def _open(self, url: str) -> aiohttp.ClientResponse:
        if self._session is None:
            # Not decompressed: what arrives is bounded as it arrives, and hashes are over the published bytes.
            self._session = aiohttp.ClientSession(
                connector=self._connect(), auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
            )
        response = await self._session.get(url, allow_redirects=False, headers={"Accept-Encoding": "identity"})
        if response.status == _OK:
            return response
        response.close()
        if response.status in _MISSING:
            raise DownloadHTTPError(url, response.status)
        elsewhere = " and names another address, which is not followed" if "Location" in response.headers else ""
        raise self._unreachable(url, f"the server answers {response.status}{elsewhere}")

    def _unreachable(self, url: str, why: str) -> UpdateError:
        return UpdateError(
            f"{url}: cannot be fetched ({why}).",
            advice=f"The set in use stays. Check the address and the network, and try again. {CLOSED_NETWORK}",
        )


def fetcher_of(
    place: str, connect: Callable[[], GuardedConnector] = GuardedConnector, *, seconds: float = DEADLINE_DEFAULT
) -> Fetcher:
    """Make the fetcher for a repository: an `https:` URL, a `file:` URL or a directory.

    Raises `InputError` for any other address, and for a URL with credentials, a query or a fragment: names of files are
    appended to it, and messages and the manifest show it.
    """
    try:
        parts = urlsplit(place)
        host = parts.hostname
    except ValueError as error:
        raise InputError(f"{shown(place)}: not a URL ({error}).", advice=_PLACES) from error
    if parts.scheme == "file" and host in {None, "localhost"}:
        return DirectoryFetcher(Path(url2pathname(parts.path)), seconds=seconds)
    if parts.scheme != "https":
        if "://" in place:
            raise InputError(f"{shown(place)}: an update is not fetched over {shown(parts.scheme)}.", advice=_PLACES)
        return DirectoryFetcher(Path(place), seconds=seconds)
    if parts.username is not None or parts.query or parts.fragment or not host or len(place) > URL_CHARACTERS_MAX:
        raise InputError(
            f"https://{shown(host or '')}: a repository's address has a host and a path, no more.",
            advice=f"Leave out user name, password, query and fragment; give at most {URL_CHARACTERS_MAX} characters.",
        )
    return GuardedFetcher(place.rstrip("/"), connect, seconds=seconds)


_PLACES: Final = "Name an https URL, a file URL or a directory that holds `metadata` and `targets`."
