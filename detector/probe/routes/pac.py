"""Proxy auto-configuration (PAC): the proxies a file names for a host, and the dialer that uses them.

Room: probe. Starts `pac_worker` in a process of its own; the caller supplies what downloads a file.

A file that exists but was not evaluated, because the extra `pac` is not installed, the file is broken or it takes too
long, is reported as the outcome `proxy-unknown` with the file's name: connecting directly instead would probe a route
that nobody else takes, and could call it clean.
"""

from __future__ import annotations

import asyncio
import importlib.util
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec

from detector.errors import ProxyError
from detector.model import Outcome, Route, json_text
from detector.model.validate import HTTPS_PORT

from .dialing import HTTP_PORT, LOG, RouteError, literal
from .direct import addresses_of
from .proxies import parse_proxy

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from detector.model import Endpoint

    from .dialing import ConnectionRecord, Dialer, ProtocolFactory
    from .direct import Resolver
    from .proxies import Proxy

    Download = Callable[[str, float], Awaitable[bytes | None]]
    """Returns the content of an http or https URL before a loop time, or None."""

    Key = tuple[str, int]

FILE_BYTES_MAX: Final = 1 << 20  # bytes of a file: what browsers accept; large ones have some hundred KiB
SCRIPT_SECONDS: Final = 1.0  # time of the script for one host; real ones take milliseconds
SCRIPT_BYTES: Final = 16 << 20  # memory of the script
START_SECONDS: Final = 12.0  # for the process to start and compile its sandbox; 2 s were measured on a busy machine
OUTPUT_BYTES_MAX: Final = 1 << 20  # bytes read from the process
HOSTS_MAX: Final = 256  # hosts evaluated in one process
ROUNDS_MAX: Final = 3  # runs for one question: later ones know the names that the script tried to resolve
NAMES_MAX: Final = 16  # names resolved for a script, besides the hosts it is evaluated for
CHOICES_MAX: Final = 4  # routes of one answer that are tried in turn

_WORKER: Final = Path(__file__).with_name("pac_worker.py")

_CHOICE: Final = re.compile(r"(DIRECT|PROXY|HTTP|HTTPS|SOCKS|SOCKS4|SOCKS5)(?:[ \t]+([!-~]{1,300}))?", re.IGNORECASE)
_SCHEMES: Final = {
    "PROXY": "http",
    "HTTP": "http",
    "HTTPS": "https",
    "SOCKS": "socks5",
    "SOCKS4": "socks4a",
    "SOCKS5": "socks5",
}
"""Keywords of an answer. Browsers take SOCKS to be version 4 or 5; deployed ones speak 5."""


def read_answer(said: str) -> tuple[Proxy | None, ...] | None:
    """Parse a script's answer: the proxies to try in turn, None standing for a direct route; None when unreadable.

    An empty answer means a direct route. Raises nothing.
    """
    routes: list[Proxy | None] = []
    for part in said.split(";"):
        if not (text := part.strip()):
            continue
        choice = _CHOICE.fullmatch(text)
        if choice is None:
            return None
        word, where = choice[1].upper(), choice[2]
        if (word == "DIRECT") is not (where is None):
            return None
        if where is None:
            routes.append(None)
        elif "@" in where or "/" in where:
            return None
        else:
            try:
                routes.append(parse_proxy(f"{_SCHEMES[word]}://{where}"))
            except ProxyError:
                return None
    return tuple(routes[:CHOICES_MAX]) or (None,)


def shown(location: str) -> str:
    """Return a file's name for a report: without credentials, query and fragment, a path by its name only."""
    if not _is_url(location):
        return Path(location).name
    try:
        parts = urlsplit(location)
    except ValueError:
        return "unreadable URL"  # a network or a machine announced it; it is not requested either
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _is_url(location: str) -> bool:
    return location.lower().startswith(("http://", "https://"))


class ProxyFile:
    """A proxy auto-configuration file: `location` is an http or https URL, or a path.

    `download` gets URLs, `resolver` resolves the names that the script asks for, `clock` gives the time in UTC. With
    `optional` a missing file means a direct route (WPAD). One event loop uses one of it.
    """

    def __init__(
        self,
        location: str,
        *,
        download: Download,
        resolver: Resolver,
        clock: Callable[[], dt.datetime],
        optional: bool = False,
    ) -> None:
        self.name: Final = shown(location)
        self._location: Final = location
        self._download: Final = download
        self._resolver: Final = resolver
        self._clock: Final = clock
        self._optional: Final = optional
        self._script: str | None = None
        self._absent = False
        self._answers: dict[str, list[str]] = {}
        self._known: dict[Key, tuple[Proxy | None, ...] | None] = {}
        self._waiting: dict[Key, None] = {}
        self._lock = asyncio.Lock()

    async def choose(self, host: str, port: int, until: float) -> tuple[Proxy | None, ...] | None:
        """Return the proxies for a host in the order in which they are tried; None when there is no answer by `until`.

        Concurrent questions are answered by one process.
        """
        key = (host.rstrip(".").lower(), port)
        self._waiting[key] = None
        await asyncio.sleep(0)  # let concurrent callers ask, too
        async with self._lock:
            if key not in self._known:
                asked = tuple(self._waiting)[:HOSTS_MAX]
                for each in asked:
                    del self._waiting[each]
                self._known.update(await self._ask(asked, until))
        self._waiting.pop(key, None)
        return self._known.get(key)

    async def _ask(self, asked: Sequence[Key], until: float) -> dict[Key, tuple[Proxy | None, ...] | None]:
        if self._script is None and not self._absent:
            await self._load(until)
        if self._absent and self._optional:
            return dict.fromkeys(asked, (None,))
        if self._script is None or importlib.util.find_spec("quickjs_rs") is None:
            return dict.fromkeys(asked)
        said: dict[Key, str | None] = dict.fromkeys(asked)
        await self._resolve((host for host, _ in asked), until)
        left = list(asked)
        for _ in range(ROUNDS_MAX):
            found, wanted = await self._run(left, until)
            said.update(zip(left, found, strict=True))
            unknown = [name for name in wanted if name not in self._answers][:NAMES_MAX]
            if not unknown:
                break
            await self._resolve(unknown, until)
        return {key: None if text is None else read_answer(text) for key, text in said.items()}

    async def _load(self, until: float) -> None:
        if _is_url(self._location):
            data = await self._download(self._location, until)
        else:
            data = _read_file(Path(self._location))
        self._absent = data is None
        self._script = None if data is None else data.decode("utf-8", "replace")

    async def _resolve(self, names: Iterable[str], until: float) -> None:
        wanted = [name for name in dict.fromkeys(names) if name not in self._answers and literal(name) is None]
        found = await asyncio.gather(
            *(addresses_of(name, HTTPS_PORT, resolver=self._resolver, until=until) for name in wanted)
        )
        self._answers.update({name: list(addresses) for name, addresses in zip(wanted, found, strict=True)})

    async def _run(self, asked: Sequence[Key], until: float) -> tuple[list[str | None], list[str]]:
        """Run the script for these hosts; no answers where it failed or took too long."""
        utc = self._clock()
        job = {
            "script": self._script,
            "own": "127.0.0.1",  # as on a machine that hides its address from the author of the script
            "local": _broken_down(utc.astimezone()),
            "utc": _broken_down(utc),
            "answers": self._answers,
            "asked": [[_url(host, port), host] for host, port in asked],
            "seconds": SCRIPT_SECONDS,
            "bytes": SCRIPT_BYTES,
        }
        nothing: list[str | None] = [None] * len(asked)
        until = min(until, asyncio.get_running_loop().time() + START_SECONDS + len(asked) * SCRIPT_SECONDS)
        output = await _run_worker(msgspec.json.encode(job), until)
        try:
            done = json_text.decode(output or b"", _Done)
        except json_text.MalformedError:
            return nothing, []
        return (done.said, done.wanted) if len(done.said) == len(asked) else (nothing, [])


class _Done(msgspec.Struct, frozen=True):
    said: list[str | None]
    wanted: list[str] = []


async def _run_worker(job: bytes, until: float) -> bytes | None:
    """Return what the worker printed; None when it failed or took too long. The process never outlives this call."""
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # nothing is imported from the working directory
            str(_WORKER),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=OUTPUT_BYTES_MAX,
        )
    except OSError as error:
        raise RouteError(Outcome.RESOURCES) from error
    try:
        async with asyncio.timeout_at(until):
            output, _ = await process.communicate(job)
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    return output if process.returncode == 0 and len(output) <= OUTPUT_BYTES_MAX else None


def _read_file(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError:
        return None
    return data if len(data) <= FILE_BYTES_MAX else None


def _url(host: str, port: int) -> str:
    """Return the URL that a script gets: browsers leave out the path of https."""
    authority = f"[{host}]" if ":" in host else host
    return f"https://{authority}/" if port in {HTTPS_PORT, HTTP_PORT} else f"https://{authority}:{port}/"


def _broken_down(time: dt.datetime) -> Mapping[str, Any]:
    date = {"year": time.year, "month": time.month - 1, "day": time.day, "weekday": (time.weekday() + 1) % 7}
    return {**date, "hour": time.hour, "minute": time.minute, "second": time.second}


class PacDialer:
    """The route that a PAC file chooses, and the next it names where a proxy cannot be reached."""

    def __init__(self, file: ProxyFile, direct: Dialer, through: Callable[[Proxy], Dialer]) -> None:
        self._file = file
        self._direct = direct
        self._through = through
        self.route: Final = Route.NONE  # known only once the file was evaluated; then it is in the connection record

    async def dial(self, endpoint: Endpoint, factory: ProtocolFactory, record: ConnectionRecord) -> asyncio.Transport:
        """Connect as `Dialer.dial` says. Raises `RouteError` PROXY_UNKNOWN where the file does not say how."""
        record.proxy_file = self._file.name
        async with record.phase("proxy-file", 2 * START_SECONDS, Outcome.PROXY_UNKNOWN):
            until = asyncio.get_running_loop().time() + 2 * START_SECONDS
            until = until if record.deadline is None else min(until, record.deadline)
            routes = await self._file.choose(endpoint.host, endpoint.port, until)
        if not routes:
            raise RouteError(Outcome.PROXY_UNKNOWN)
        for number, proxy in enumerate(routes, start=1):
            dialer = self._direct if proxy is None else self._through(proxy)
            LOG.debug("%s: %s chose %s", endpoint.name, self._file.name, proxy or "a direct connection")
            record.route, record.proxy, record.asked_for = dialer.route, None, None
            try:
                return await dialer.dial(endpoint, factory, record)
            except RouteError as error:
                if number == len(routes) or error.outcome is not Outcome.PROXY_UNREACHABLE:
                    raise
        raise RouteError(Outcome.PROXY_UNKNOWN)
