"""Proxy auto-configuration (PAC): the proxies a file names for a host, and the dialer that uses them.

Room: probe. Starts `pac_worker` in a process of its own; the caller supplies what downloads a file.

A file that exists but was not evaluated, because the extra `pac` is not installed, the file is broken or it takes too
long, is reported: as the outcome `proxy-unknown` with the file's name where the caller named it, since connecting
directly instead would probe a route that nobody else takes, and could call it clean; as `unfollowed_proxy` where this
machine's settings name it, since browsers then take the route that remains.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import importlib.util
import math
import re
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

import msgspec

from detector.aio.lazy import LazyModule
from detector.aio.tasks import reap, run_in_thread
from detector.errors import ProxyError
from detector.frozen import child_command
from detector.model import Outcome, Route, UnfollowedProxy, json_text
from detector.model.validate import HTTPS_PORT

from .dialing import HTTP_PORT, LOG, RouteError, literal
from .direct import addresses_of, source_addresses
from .proxies import parse_proxy

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
    from urllib.parse import SplitResult

    from detector.model import Endpoint

    from . import pac_worker
    from .dialing import ConnectionRecord, Dialer, ProtocolFactory
    from .direct import Resolver
    from .proxies import Proxy

    Download = Callable[[str, float], Awaitable[bytes | None]]
    """Returns the content of an http or https URL before a loop time, or None."""

    Key = tuple[str, int]
    Answer = tuple[Proxy | None, ...] | UnfollowedProxy | None
    """The routes to try in turn, or why there are none; None where automatic detection finds no file."""

    Run = Callable[[dict[str, Any], float], Awaitable[bytes | None]]
    """Evaluates a job of `pac_worker` before a loop time; None when it failed or took too long."""
else:
    pac_worker = LazyModule(f"{__package__}.pac_worker")  # loads the sandbox; where no process can be started

FILE_BYTES_MAX: Final = 1 << 20  # bytes of a file: what browsers accept; large ones have some hundred KiB
FILE_SECONDS: Final = 5.0  # to fetch a file, as long as a connection may take; without it there is no route
FILE_AGE_SECONDS: Final = 600.0  # age at which a file is fetched and asked again: it may depend on the time of day
DETECTION_SECONDS: Final = 0.5
"""To find a file by WPAD. Nearly no network answers, and every endpoint waits; a server on the same network needs a few
milliseconds, and a resolver that knows no `wpad` some ten."""
SCRIPT_SECONDS: Final = 1.0  # time of the script for one host; real ones take milliseconds
SCRIPTS_SECONDS: Final = 8.0  # time of the script for all hosts of one run
SCRIPT_BYTES: Final = 16 << 20  # memory of the script: a list of 60000 names, larger than a file may be, needs less
START_SECONDS: Final = 12.0  # for the process to start and compile its sandbox; 2 s were measured on a busy machine
GRACE_SECONDS: Final = 1.0  # past the script's own limit, which loops inside of built-in functions do not notice
OUTPUT_BYTES_MAX: Final = 2 << 20  # bytes read from the process: 256 answers of 4096 characters
THREADS_MAX: Final = 2  # evaluations in threads at once: a thread cannot be ended, so one that hangs keeps its place
HOSTS_MAX: Final = 256  # hosts evaluated in one process
ROUNDS_MAX: Final = 3  # runs for one question: later ones know the names that the script tried to resolve
NAMES_MAX: Final = 16  # names resolved for a script, besides the hosts it is evaluated for
CHOICES_MAX: Final = 4  # routes of one answer that are tried in turn

_WEB: Final = frozenset({"http", "https"})
_WORKER: Final = Path(__file__).with_name("pac_worker.py")

_ENTRIES: Final = ("FindProxyForURL", "FindProxyForURLEx")
"""The functions of a file, in the order of preference. Windows' own HTTP libraries prefer the second, which other
systems and the browsers do not know (measured with Chromium 156); it serves where it is the only one."""

_RESOLVING: Final = re.compile("dnsResolve|isResolvable|isInNet")
"""Functions that resolve names: other files need not wait for a resolver, which may not know public names at all."""

_CHOICE: Final = re.compile(
    r"(DIRECT|PROXY|HTTP|HTTPS|SOCKS|SOCKS4|SOCKS5)(?:[ \t]+([!-.0-?A-~]{1,300}))?", re.IGNORECASE
)
_SCHEMES: Final = {
    "PROXY": "http",
    "HTTP": "http",
    "HTTPS": "https",
    "SOCKS": "socks4a",
    "SOCKS4": "socks4a",
    "SOCKS5": "socks5",
}
"""Keywords of an answer. SOCKS is version 4 to Chromium and Firefox. HTTP is known to Firefox alone."""


def read_file(data: bytes) -> str:
    """Decode a file: UTF-16 or UTF-8 where it begins with that byte order mark, else UTF-8, else Latin-1."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def read_answer(said: str) -> tuple[Proxy | None, ...] | None:
    """Parse a script's answer: the proxies to try in turn, None standing for a direct route; None when unreadable.

    Entries are separated by semicolons or line breaks. Those of an unknown kind are skipped, as browsers do; an answer
    of such entries alone is unreadable, and an empty one means a direct route. Raises nothing.
    """
    entries = [entry for part in said.split(";") for entry in map(str.strip, part.splitlines()) if entry]
    if not entries:
        return (None,)
    if not said.isascii():
        return None  # Chromium: the script failed
    return tuple(route[0] for entry in entries if (route := _read_entry(entry)))[:CHOICES_MAX] or None


def _read_entry(entry: str) -> tuple[Proxy | None] | None:
    """The route of one entry; None for one that cannot be used."""
    choice = _CHOICE.fullmatch(entry)
    if choice is None:
        return None
    word, where = choice[1].upper(), choice[2]
    if word == "DIRECT":
        return (None,) if where is None else None
    try:
        return None if where is None else (parse_proxy(f"{_SCHEMES[word]}://{where}"),)
    except ProxyError:
        return None


def shown(location: str) -> str:
    """Return a file's name for a report: without credentials, query and fragment, a path by its name only."""
    parts = _split(location)
    if parts.scheme in _WEB:
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
    if not parts.scheme and "://" in location:
        return "unreadable URL"  # it may hold credentials
    return Path(parts.path if parts.scheme == "file" else location).name


def _split(location: str) -> SplitResult:
    """The parts of a URL; those of an empty one where it is not a URL."""
    try:
        return urlsplit(location)
    except ValueError:  # such as an unfinished IPv6 address
        return urlsplit("")


class ProxyFile:
    """A proxy auto-configuration file: `location` is an http, https or file URL, or a path.

    `download` gets URLs, `resolver` resolves the names that the script asks for, `clock` gives the time in UTC. With
    `optional` (WPAD) a missing file is no setting; it is requested once, and briefly. What is learned holds for some
    minutes (`FILE_AGE_SECONDS`). One event loop uses one of it.
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
        self._expires = -math.inf  # loop time
        self._answers: dict[str, list[str]] = {}
        self._known: dict[Key, Answer] = {}
        self._waiting: dict[Key, None] = {}
        self._lock = asyncio.Lock()

    async def choose(self, host: str, port: int, until: float) -> Answer:
        """Return the proxies for a host in the order in which they are tried, or why there are none by `until`.

        Concurrent questions are answered by one process.
        """
        key = (host.rstrip(".").lower(), port)
        self._waiting[key] = None
        await asyncio.sleep(0)  # let concurrent callers ask, too
        async with self._lock:
            self._expire(asyncio.get_running_loop().time())
            if key not in self._known:
                asked = tuple(self._waiting)[:HOSTS_MAX]
                for each in asked:
                    del self._waiting[each]
                self._known.update(await self._ask(asked, until))
        self._waiting.pop(key, None)
        return self._known.get(key, UnfollowedProxy.FILE_FAULTY)

    def _expire(self, now: float) -> None:
        """Forget the file and what it said once that is old."""
        if now >= self._expires:
            self._script, self._absent, self._expires = None, False, now + FILE_AGE_SECONDS
            self._answers.clear()
            self._known.clear()

    async def _ask(self, asked: Sequence[Key], until: float) -> Mapping[Key, Answer]:
        if self._optional:
            await self._load(until)  # before a process is started for it: nearly always there is none
            if self._absent:
                return dict.fromkeys(asked)
        if importlib.util.find_spec("quickjs_rs") is None:
            return dict.fromkeys(asked, UnfollowedProxy.EXTRA_MISSING)
        async with _evaluator() as run:
            await self._load(until)  # while the process starts
            if self._script is None:
                return dict.fromkeys(asked, UnfollowedProxy.FILE_FAULTY)
            return await self._evaluate(self._script, asked, run, until)

    async def _evaluate(self, script: str, asked: Sequence[Key], run: Run, until: float) -> Mapping[Key, Answer]:
        said: list[str | None] = [None] * len(asked)
        if _RESOLVING.search(script) is not None:
            await self._resolve((host for host, _ in asked), until)
        for _ in range(ROUNDS_MAX):
            done = _read_output(await run(self._job(script, asked), until))
            if len(done.said) != len(asked):
                break
            said = done.said
            unknown = [name for name in done.wanted if name not in self._answers][:NAMES_MAX]
            if not unknown:
                break
            await self._resolve(unknown, until)
        return {
            key: UnfollowedProxy.FILE_FAULTY if text is None else read_answer(text) or UnfollowedProxy.KIND_UNKNOWN
            for key, text in zip(asked, said, strict=True)
        }

    async def _load(self, until: float) -> None:
        """Get the script, unless that was done."""
        if self._script is not None or self._absent:
            return
        self._absent = self._optional  # also where this is cancelled: it is tried once
        now = asyncio.get_running_loop().time()
        until = min(until, now + (DETECTION_SECONDS if self._optional else FILE_SECONDS))
        parts = _split(self._location)
        data: bytes | None = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                if parts.scheme in _WEB:
                    data = await self._download(self._location, until)
                else:
                    location = url2pathname(parts.path) if parts.scheme == "file" else self._location
                    data = await run_in_thread(lambda: _bytes_of(Path(location)))
        self._absent = data is None
        self._script = None if data is None else read_file(data)

    async def _resolve(self, names: Iterable[str], until: float) -> None:
        wanted = [name for name in dict.fromkeys(names) if name not in self._answers and literal(name) is None]
        found = await asyncio.gather(
            *(addresses_of(name, HTTPS_PORT, resolver=self._resolver, until=until) for name in wanted)
        )
        self._answers.update({name: list(addresses) for name, addresses in zip(wanted, found, strict=True)})

    def _job(self, script: str, asked: Sequence[Key]) -> dict[str, Any]:
        utc = self._clock()
        return {
            "script": script,
            "entries": _ENTRIES,
            "own": list(source_addresses().values()),
            "local": _broken_down(utc.astimezone()),
            "utc": _broken_down(utc),
            "answers": self._answers,
            "asked": [[_url(host, port), host] for host, port in asked],
            "seconds": SCRIPT_SECONDS,
            "seconds_all": SCRIPTS_SECONDS,
            "bytes": SCRIPT_BYTES,
        }


class _Done(msgspec.Struct, frozen=True):
    said: list[str | None]
    wanted: list[str] = []


def _read_output(output: bytes | None) -> _Done:
    """Parse what the worker printed; no answers where it failed."""
    try:
        return json_text.decode(output or b"", _Done)
    except json_text.MalformedError:
        return _Done([])


@contextlib.asynccontextmanager
async def _evaluator() -> AsyncIterator[Run]:
    """Start the worker; it never outlives the `async with` block. Raises `RouteError` RESOURCES."""
    process = await _start_worker()
    if process is None:
        yield _run_in_thread
        return
    try:
        yield _Worker(process).run
    finally:
        if process.returncode is None:
            process.kill()
        await reap(process)


async def _start_worker() -> asyncio.subprocess.Process | None:
    """Start the process; None where neither application nor event loop can. Raises `RouteError` RESOURCES."""
    command = child_command(f"{__package__}.pac_worker", file=_WORKER)
    if command is None:
        return None
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=OUTPUT_BYTES_MAX,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # on Windows, where a window would open
        )
    except NotImplementedError:  # Windows' SelectorEventLoop
        return None
    except OSError as error:
        raise RouteError(Outcome.RESOURCES) from error


class _Worker:
    """The process that evaluates files: reads jobs from its standard input, a line each."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._ready = False

    async def run(self, job: dict[str, Any], until: float) -> bytes | None:
        """Return what the worker printed for a job; None when it failed or took too long."""
        reader, writer, now = self._process.stdout, self._process.stdin, asyncio.get_running_loop().time
        if reader is None or writer is None:
            return None
        try:
            if not self._ready:
                async with asyncio.timeout_at(min(until, now() + START_SECONDS)):
                    self._ready = bool(await reader.readline())
            async with asyncio.timeout_at(min(until, now() + SCRIPTS_SECONDS + GRACE_SECONDS)):
                writer.write(msgspec.json.encode(job) + b"\n")
                await writer.drain()
                return await reader.readline()
        except (TimeoutError, OSError, ValueError):  # ValueError: a longer line than allowed
            return None


_slots: Final = threading.Semaphore(THREADS_MAX)


async def _run_in_thread(job: dict[str, Any], until: float) -> bytes | None:
    """As `_Worker.run`, in this process. The script's limits hold but inside of built-in functions."""

    def evaluate() -> bytes | None:
        if not _slots.acquire(blocking=False):
            return None
        try:
            return msgspec.json.encode(pac_worker.evaluate(job))
        except (ImportError, OSError) as error:  # an application was frozen without files of the sandbox
            LOG.warning("the sandbox for proxy files cannot be loaded: %s", error)
            return None
        finally:
            _slots.release()

    try:
        async with asyncio.timeout_at(min(until, asyncio.get_running_loop().time() + START_SECONDS + SCRIPTS_SECONDS)):
            return await run_in_thread(evaluate)
    except TimeoutError:
        return None


def _bytes_of(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError):  # ValueError: a null byte
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
    """The route that a PAC file chooses, and the next it names where a proxy cannot be reached.

    `remaining` gives the route for an endpoint where the file does not; without it such an endpoint is not reached.
    """

    def __init__(
        self,
        file: ProxyFile,
        direct: Dialer,
        through: Callable[[Proxy], Dialer],
        remaining: Callable[[Endpoint], Dialer] | None = None,
    ) -> None:
        self._file = file
        self._direct = direct
        self._through = through
        self._remaining = remaining
        self._replace: Callable[[Dialer], Dialer] | None = None
        self.route: Final = Route.NONE  # known only once the file was evaluated; then it is in the connection record

    def replacing(self, replace: Callable[[Dialer], Dialer]) -> PacDialer:
        """The same route with each dialer that it comes to replaced by what `replace` makes of it."""
        replacing = PacDialer(self._file, self._direct, self._through, self._remaining)
        replacing._replace = replace
        return replacing

    async def dial(self, endpoint: Endpoint, factory: ProtocolFactory, record: ConnectionRecord) -> asyncio.Transport:
        """Connect as `Dialer.dial` says. Raises `RouteError` PROXY_UNKNOWN where the file does not say how."""
        record.proxy_file = self._file.name
        async with record.phase("proxy-file", 2 * START_SECONDS, Outcome.PROXY_UNKNOWN):
            until = asyncio.get_running_loop().time() + 2 * START_SECONDS
            until = until if record.deadline is None else min(until, record.deadline)
            answer = await self._file.choose(endpoint.host, endpoint.port, until)
        routes = self._routes(answer, endpoint, record)
        if self._replace is not None:
            routes = list(map(self._replace, routes))
        for number, dialer in enumerate(routes, start=1):
            LOG.debug("%s: %s chose %s", endpoint.name, self._file.name, dialer.route)
            record.route, record.proxy, record.asked_for = dialer.route, None, None
            try:
                return await dialer.dial(endpoint, factory, record)
            except RouteError as error:
                if number == len(routes) or error.outcome is not Outcome.PROXY_UNREACHABLE:
                    raise
        raise RouteError(Outcome.PROXY_UNKNOWN)

    def _routes(self, answer: Answer, endpoint: Endpoint, record: ConnectionRecord) -> list[Dialer]:
        """The routes to try in turn; none where the answer gives none and none remains."""
        if isinstance(answer, tuple):
            return [self._direct if proxy is None else self._through(proxy) for proxy in answer]
        if answer is None:
            record.proxy_file = None  # there is no such file
        elif self._remaining is not None:
            record.unfollowed_proxy = answer
        return [] if self._remaining is None else [self._remaining(endpoint)]
