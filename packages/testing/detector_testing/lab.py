"""An isolated network on this machine: client, router, box, router, origin, on IPv4 and IPv6.

Room: testing. Linux and root only: every hop is a network namespace with its own addresses, routes and packet filter
(`ip`, `nft`). It has no connection to any other network.

    async with network_lab() as lab, lab.origin.inside(serve_origin(issued, host="", port=443)):
        async with lab.box.inside(serve_middlebox(ca, mode="transparent-like", host="", port=8443)) as box:
            await lab.redirect(443, to=8443)
            done = await lab.client.run(sys.executable, "-m", "detector", "check", ...)

`inside` enters any async context manager of this package in a namespace: each namespace has one thread of this process,
with an event loop, whose sockets and child processes belong to it. Interceptors run on `box`; `redirect` diverts the
client's connections to one of its ports. Every hop answers with ICMP time-exceeded, without rate limits, so that tests
do not affect each other. Many kernels have no `netem`; `serve_relay(delay=…)` behind a redirect makes a delay.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import dataclasses
import functools
import itertools
import os
import pathlib
import re
import shutil
import signal
import sys
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from detector.errors import DetectorError

from .redirected import original_destination
from .streams import Listener, PlainStream, Stream, aborting, connect, listen, relay
from .threads import LoopThread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping

Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")

HOPS: Final = ("client", "near", "box", "far", "origin")
"""The namespaces, in the order a packet passes them."""
IPV4: Final = 4
IPV6: Final = 6
"""IP versions, as RFC 791 and RFC 8200 number them."""
FAMILIES: Final = (IPV4, IPV6)
NAME_PREFIX: Final = "tlslab"
_NAME: Final = re.compile(rf"{NAME_PREFIX}-(\d+)-\d+-[a-z]+")
NAMESPACES: Final = pathlib.Path("/run/netns")
"""Where `ip netns` keeps names (ip-netns(8))."""
CONFIGURATION: Final = pathlib.Path("/etc/netns")
"""Files that `ip netns exec` shows in /etc inside a namespace (ip-netns(8))."""
CLONE_NEWNET: Final = 0x40000000
"""Network namespaces (setns(2))."""
COMMAND_LIMIT: Final = 60.0
"""Seconds for a command inside a namespace: a check's deadline, an interpreter's start, a busy machine."""
ADVICE: Final = "Run as root on Linux, outside containers that forbid namespaces, with iproute2 and nftables installed."
_SYSCTLS: Final = {
    "ipv4/ip_forward": "1",
    "ipv6/conf/all/forwarding": "1",
    # New addresses are usable at once: duplicates are impossible, so detection (RFC 4862 section 5.4) is off.
    "ipv6/conf/all/accept_dad": "0",
    "ipv6/conf/default/accept_dad": "0",
    "ipv4/icmp_ratelimit": "0",
    "ipv6/icmp/ratelimit": "0",
}
"""Settings of every namespace, under /proc/sys/net (ip-sysctl.rst of the kernel's documentation)."""
_TABLE: Final = "table inet lab"
_LINK: Final = "link add far index 11 netns {} type veth peer name near index 12 netns {}"
"""The ends of a link have different indexes: with equal ones Linux takes up to a second to notice the carrier
(linkwatch_urgent_event in net/core/link_watch.c)."""
_serial: Final = itertools.count(1)


class LabError(DetectorError, RuntimeError):
    """The lab cannot be built here, or a command in it failed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finished:
    """A command that has ended: its exit code and output."""

    code: int
    output: bytes
    errors: bytes


class Namespace(LoopThread):
    """One host of the lab. `ipv4` and `ipv6` are its addresses on the client's side (of the client: its own)."""

    def __init__(self, name: str, ipv4: str, ipv6: str) -> None:
        super().__init__(name, functools.partial(_enter, name))
        self.name = name
        self.ipv4 = ipv4
        self.ipv6 = ipv6

    def address(self, family: int) -> str:
        """Return the address of IP version `family`."""
        return {IPV4: self.ipv4, IPV6: self.ipv6}[family]

    async def call(
        self,
        function: Callable[Arguments, Coroutine[Any, Any, Value]],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Value:
        """Run an async function in the namespace's thread; its sockets and child processes belong to the namespace."""
        return await asyncio.wrap_future(self.submit(function(*args, **kwargs)))

    @contextlib.asynccontextmanager
    async def inside(self, manager: contextlib.AbstractAsyncContextManager[Value]) -> AsyncIterator[Value]:
        """Enter `manager` in the namespace's thread, and exit it there when the block ends.

        Attributes of the yielded value can be read from this thread; call its async methods through `call`.
        """
        entered, exit_ = self.enter(manager)
        try:
            yield await asyncio.wrap_future(entered)
        finally:
            await asyncio.wrap_future(exit_())

    async def run(self, *command: str, env: Mapping[str, str] | None = None, limit: float = COMMAND_LIMIT) -> Finished:
        """Run a command in the namespace and wait for its end. `env` replaces the environment; `limit` is in seconds.

        Kills a command that does not end in time, and raises LabError.
        """
        process = await asyncio.create_subprocess_exec(
            *("ip", "netns", "exec", self.name, *command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=env,
        )
        try:
            async with asyncio.timeout(limit):
                output, errors = await process.communicate()
        except TimeoutError:
            raise LabError(
                f"{command[0]} in {self.name} did not end within {limit:g} seconds.",
                advice="Raise its `limit`, or find out what it waits for.",
            ) from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return Finished(code=process.returncode or 0, output=output, errors=errors)

    async def ip(self, *lines: str) -> None:
        """Run `ip` commands in the namespace, such as `address add 10.91.4.3/24 dev near`. Raises LabError."""
        await _tool(("ip", "-n", self.name, "-batch", "-"), lines)

    async def nft(self, *lines: str) -> None:
        """Run `nft` commands in the namespace. Raises LabError."""
        await _tool(("ip", "netns", "exec", self.name, "nft", "-f", "-"), lines)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lab:
    """A running lab. From the client, `near` is hop 1, `box` 2, `far` 3 and `origin` 4."""

    client: Namespace
    near: Namespace
    box: Namespace
    far: Namespace
    origin: Namespace

    @property
    def namespaces(self) -> tuple[Namespace, ...]:
        """All namespaces, in the order a packet passes them."""
        return tuple(getattr(self, hop) for hop in HOPS)

    async def redirect(self, port: int, *, to: int, families: Collection[int] = FAMILIES) -> None:
        """Divert the client's TCP connections to `port` anywhere to port `to` of the box, for these IP versions.

        Each call replaces the effect of the last `redirect`, `block_quic` or `pass_everything`.
        """
        rules = [f'iifname "near" meta nfproto ipv{family} tcp dport {port} redirect to :{to}' for family in families]
        chain = ("chain turn { type nat hook prerouting priority dstnat; policy accept;", *rules, "}")
        await self._filter(*chain)

    async def block_quic(self, *, how: str = "drop") -> None:
        """Make the box `drop` or `reject` UDP to port 443. Replaces as `redirect` does."""
        await self._filter(
            "chain block { type filter hook forward priority filter; policy accept;", f"udp dport 443 {how}", "}"
        )

    async def pass_everything(self) -> None:
        """Make the box a plain router."""
        await self._filter()

    async def name_hosts(self, hosts: Mapping[str, Collection[str]]) -> None:
        """Resolve these names to these addresses, for commands that `run` starts in the client, by a hosts file."""
        lines = [f"{address} {host}" for host, addresses in hosts.items() for address in addresses]
        directory = CONFIGURATION / self.client.name
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "hosts").write_text("\n".join([*lines, ""]), encoding="ascii")

    async def _filter(self, *rules: str) -> None:
        await self.box.nft(_TABLE, f"delete {_TABLE}", f"{_TABLE} {{", *rules, "}")


@contextlib.asynccontextmanager
async def network_lab() -> AsyncIterator[Lab]:
    """Build a lab, and remove it when the block ends, with everything that still runs in it.

    Any number of labs can run at the same time. Each new one also removes what killed processes left behind. Raises
    LabError with one sentence on what is missing.
    """
    if (lacking := missing()) is not None:
        raise LabError(f"The network lab cannot be built: {lacking}.", advice=ADVICE)
    for name in _abandoned():
        await _remove(name)
    prefix = f"{NAME_PREFIX}-{os.getpid()}-{next(_serial)}"
    lab = Lab(
        **{
            hop: Namespace(f"{prefix}-{hop}", *(_end(number, 2) if number else _end(1, 1)))
            for number, hop in enumerate(HOPS)
        }
    )
    try:
        await _build(lab.namespaces)
        yield lab
    finally:
        for namespace in lab.namespaces:
            namespace.stop()
        for namespace in lab.namespaces:
            if _exists(namespace.name):
                await _remove(namespace.name)


def missing() -> str | None:
    """Return what this machine lacks for a lab, as far as is known without trying; None for nothing."""
    if sys.platform != "linux":
        return "only Linux has network namespaces"
    for program, package in (("ip", "iproute2"), ("nft", "nftables")):
        if shutil.which(program) is None:
            return f"the program {program} is not installed (Debian: {package})"
    return None if os.geteuid() == 0 else "creating network namespaces takes root"


def _end(link: int, end: int) -> tuple[str, str]:
    """Return the addresses of one end of a link: 1 is the client's, 2 the origin's. Link n joins hops n-1 and n."""
    return f"10.91.{link}.{end}", f"fd91:{link}::{end}"


async def _build(namespaces: tuple[Namespace, ...]) -> None:
    names = [namespace.name for namespace in namespaces]
    try:
        await _tool(("ip", "-batch", "-"), [f"netns add {name}" for name in names])
    except LabError as error:
        reason = error.message.rpartition(": ")[2]
        raise LabError(
            f"The network lab cannot be built: this machine refuses namespaces ({reason})", advice=ADVICE
        ) from error
    for namespace in namespaces:
        namespace.start()
    await _tool(("ip", "-batch", "-"), [_LINK.format(left, right) for left, right in itertools.pairwise(names)])
    for number, namespace in enumerate(namespaces):
        await namespace.ip("link set lo up", *_plan(number, last=len(namespaces) - 1))


def _plan(number: int, *, last: int) -> list[str]:
    """Return the `ip` commands for a hop's addresses and routes. The last router knows only the lab's networks."""
    lines = []
    if number > 0:
        lines += _join("near", *_end(number, 2))
    if number < last:
        lines += _join("far", *_end(number + 1, 1))
    if number < last - 1:
        lines += [f"route add default via {gateway}" for gateway in _end(number + 1, 2)]
    for link in range(1, number):
        for network, gateway in zip((f"10.91.{link}.0/24", f"fd91:{link}::/64"), _end(number, 1), strict=True):
            lines.append(f"route add {network} via {gateway}")
    return lines


def _join(device: str, ipv4: str, ipv6: str) -> list[str]:
    return [f"address add {ipv4}/24 dev {device}", f"address add {ipv6}/64 dev {device} nodad", f"link set {device} up"]


def _exists(name: str) -> bool:
    return (NAMESPACES / name).exists()


def _abandoned() -> list[str]:
    """Return the namespaces of processes that no longer exist."""
    if not NAMESPACES.is_dir():
        return []
    named = [match for entry in NAMESPACES.iterdir() if (match := _NAME.fullmatch(entry.name)) is not None]
    return [match[0] for match in named if not pathlib.Path("/proc", match[1]).exists()]


async def _remove(name: str) -> None:
    """Remove a namespace with its files, and kill the processes in it: all were started by the lab."""
    shutil.rmtree(CONFIGURATION / name, ignore_errors=True)
    listing = await asyncio.create_subprocess_exec("ip", "netns", "pids", name, stdout=asyncio.subprocess.PIPE)
    output, _ = await listing.communicate()
    for process in map(int, output.split()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    await _tool(("ip", "netns", "delete", name), ())


async def _tool(command: tuple[str, ...], lines: Collection[str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate("\n".join([*lines, ""]).encode())
    if process.returncode:
        raise LabError(f"{' '.join(command)} failed: {errors.decode(errors='replace').strip()}", advice=ADVICE)


def _enter(name: str) -> None:
    """Move this thread, and what it starts, into a network namespace (setns(2)) and configure that. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)  # Python has `os.setns` from 3.12 on
    descriptor = os.open(NAMESPACES / name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(descriptor, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns into {name} failed")
    finally:
        os.close(descriptor)
    for setting, value in _SYSCTLS.items():
        pathlib.Path("/proc/sys/net", setting).write_text(value, encoding="ascii")


class Relay(Listener):
    """A running relay."""


@contextlib.asynccontextmanager
async def serve_relay(*, delay: float = 0.0, host: str = "", port: int = 8443) -> AsyncIterator[Relay]:
    """Relay redirected connections to their original destination, `delay` seconds late each way.

    It terminates TCP and decrypts nothing, as load balancers and accelerators do: an early answer, and genuine TLS.
    """
    running = Relay()

    async def serve(client: PlainStream) -> None:
        if (destination := original_destination(client.socket)) is None:
            return
        server = await connect(destination)
        with aborting(server):
            await relay(_Late(client, delay), _Late(server, delay))

    async with listen(serve, running, host=host, port=port):
        yield running


class _Late:
    """A stream whose bytes arrive late."""

    def __init__(self, below: Stream, delay: float) -> None:
        self._below = below
        self._delay = delay
        self.write = below.write
        self.close = below.close
        self.abort = below.abort

    async def read(self) -> bytes:
        data = await self._below.read()
        await asyncio.sleep(self._delay)
        return data
