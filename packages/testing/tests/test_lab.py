"""Room: testing. A network of five hops in namespaces: what it gives, and that nothing of it is left."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from detector_testing import LabError, lab, plugin, serve_files, serve_relay
from detector_testing.lab import CONFIGURATION, NAMESPACES
from detector_testing.lab import network_lab as build
from detector_testing.streams import Listener, listen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from detector_testing import Lab, Serving
    from detector_testing.streams import PlainStream

PAGE = {"/": b"the origin"}


async def fetch(address: str, port: int) -> bytes:
    """The body of the page at `/`."""
    reader, writer = await asyncio.open_connection(address, port)
    try:
        writer.write(b"GET / HTTP/1.1\r\nHost: origin\r\nConnection: close\r\n\r\n")
        return (await reader.read()).rpartition(b"\r\n\r\n")[2]
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.lab
@pytest.mark.parametrize("family", [4, 6])
async def test_five_hops_carry_both_ip_versions(network_lab: Lab, family: int) -> None:
    """The client reaches the origin, sees the origin's address, and is seen with its own."""
    seen = []

    async def note(stream: PlainStream) -> None:
        await stream.read()
        seen.append(stream.socket.getpeername()[0])

    server = Listener()
    async with network_lab.origin.inside(listen(note, server, host=network_lab.origin.address(family))):
        assert await network_lab.client.call(fetch, *server.address) == b""
    assert seen == [network_lab.client.address(family)]


@pytest.mark.lab
@pytest.mark.parametrize("family", [4, 6])
async def test_a_redirect_ends_at_the_box_and_the_relay_knows_where_to(network_lab: Lab, family: int) -> None:
    """Only the port and the IP version that were named are turned; what was redirected reaches the origin after all."""
    address = network_lab.origin.address(family)
    async with (
        network_lab.origin.inside(serve_files(PAGE, host=address)) as origin,
        network_lab.box.inside(serve_relay(port=9000)) as relay,
    ):
        assert await network_lab.client.call(fetch, address, origin.port) == b"the origin"
        assert relay.connections == 0
        await network_lab.redirect(origin.port, to=9000, families=[family])
        assert await network_lab.client.call(fetch, address, origin.port) == b"the origin"
        assert relay.connections == 1
        await network_lab.redirect(origin.port, to=9000, families={4, 6} - {family})
        assert await network_lab.client.call(fetch, address, origin.port) == b"the origin"
        await network_lab.pass_everything()
        assert await network_lab.client.call(fetch, address, origin.port) == b"the origin"
        assert relay.connections == 1


@pytest.mark.lab
async def test_names_resolve_for_commands_in_the_client(network_lab: Lab) -> None:
    """A hosts file of the namespace's own serves the resolver; the machine's stays unchanged."""
    await network_lab.name_hosts({"exam.example.edu": (network_lab.origin.ipv4,)})
    program = "import socket; print(socket.gethostbyname('exam.example.edu'))"
    done = await network_lab.client.run(sys.executable, "-c", program)
    assert done.output.decode().strip() == network_lab.origin.ipv4
    assert (CONFIGURATION / network_lab.client.name).exists()


@pytest.mark.lab
async def test_nothing_leaves_the_lab(network_lab: Lab) -> None:
    """An address outside has no way there, from any hop."""
    for namespace in network_lab.namespaces:
        with pytest.raises(OSError, match=r"unreachable|Connect call failed") as failed:
            await namespace.call(asyncio.open_connection, "192.0.2.1", 443)
        assert failed.value.errno in {errno.EHOSTUNREACH, errno.ENETUNREACH}


@pytest.mark.lab
@pytest.mark.usefixtures("network_lab")  # without which it is skipped
async def test_everything_is_gone_afterwards_even_after_a_failure() -> None:
    """Namespaces, their files and what runs in them end with the block, however it ends."""
    left: list[str] = []
    strays: list[subprocess.Popen[bytes]] = []

    async def use_and_fail() -> None:
        async with build() as first, build() as second:
            left.extend(namespace.name for one in (first, second) for namespace in one.namespaces)
            await first.name_hosts({"a.example": ("10.91.4.2",)})
            command = ["ip", "netns", "exec", first.box.name, sys.executable, "-c", "input('here')"]
            stray = subprocess.Popen(command, stdin=-1, stdout=-1)  # noqa: ASYNC220, S603 - nobody waits for it: that is the point
            strays.append(stray)
            assert stray.stdout is not None
            assert stray.stdout.read(4) == b"here"
            assert all((NAMESPACES / name).exists() for name in left)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await use_and_fail()
    assert len(set(left)) == 10
    assert not any((NAMESPACES / name).exists() or (CONFIGURATION / name).exists() for name in left)
    with strays[0] as stray:
        assert stray.wait(10) == -signal.SIGKILL


@pytest.mark.lab
@pytest.mark.usefixtures("network_lab")
async def test_what_a_killed_process_left_is_swept() -> None:
    """A lab of a process that is no more is removed by the next one; one of a process that runs is not."""
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], check=True, capture_output=True)  # noqa: ASYNC221 - our own interpreter, for a number nobody has
    dead, alive = f"tlslab-{int(ended.stdout)}-1-box", f"tlslab-{os.getppid()}-999999-box"
    for name in (dead, alive):
        await lab._tool(("ip", "netns", "add", name), ())
    try:
        async with build():
            assert not (NAMESPACES / dead).exists()
            assert (NAMESPACES / alive).exists()
    finally:
        await lab._remove(alive)


@pytest.mark.lab
async def test_what_cannot_be_entered_says_why_and_leaves_nothing(network_lab: Lab) -> None:
    """The failure of a server to start is the caller's, once; a command that hangs is killed and named."""
    occupied = serve_files(PAGE, host=network_lab.client.ipv4)  # not an address of the origin
    with pytest.raises(OSError, match="address"):
        async with network_lab.origin.inside(occupied):
            pytest.fail("it cannot have started")
    with pytest.raises(LabError, match=r"did not end within 0\.1 seconds"):
        await network_lab.client.run(sys.executable, "-c", "import time; time.sleep(60)", limit=0.1)
    with pytest.raises(LabError, match="nft"):
        await network_lab.box.nft("nonsense")


@pytest.mark.lab
async def test_a_failure_inside_reaches_the_test(network_lab: Lab) -> None:
    """What breaks in a namespace when it is left is raised here; a cancelled test leaves the namespace in order."""

    @contextlib.asynccontextmanager
    async def breaking() -> AsyncIterator[None]:
        yield
        raise RuntimeError("broken on leaving")

    with pytest.raises(RuntimeError, match="broken on leaving"):
        async with network_lab.box.inside(breaking()):
            pass
    left = []

    @contextlib.asynccontextmanager
    async def noting() -> AsyncIterator[None]:
        try:
            yield
        finally:
            left.append(True)

    async def hold() -> None:
        async with network_lab.box.inside(noting()):
            entered.set()
            await asyncio.Event().wait()

    entered = asyncio.Event()
    holding = asyncio.ensure_future(hold())
    await entered.wait()
    holding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holding
    assert left == [True]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("sys.platform", "darwin"), "only Linux has network namespaces"),
        (("shutil.which", lambda _name: None), "the program ip is not installed (Debian: iproute2)"),
        (("os.geteuid", lambda: 1000), "creating network namespaces takes root"),
    ],
)
async def test_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, change: tuple[str, object], said: str) -> None:
    """One sentence says what this machine lacks, and what to do."""
    monkeypatch.setattr("shutil.which", lambda name: f"/sbin/{name}")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("os.geteuid", lambda: 0, raising=False)
    monkeypatch.setattr(*change, raising=False)
    with pytest.raises(LabError) as failed:
        async with build():
            pytest.fail("it cannot have been built")
    assert said in failed.value.message
    assert "Run as root on Linux" in str(failed.value)


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)])
def test_without_namespaces_tests_are_skipped_but_fail_in_ci(
    tls_serving: Serving, monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]
) -> None:
    """The fixture says why; where CI is set it never skips."""
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr("os.geteuid", lambda: 1000, raising=False)
    monkeypatch.setattr("shutil.which", lambda name: f"/sbin/{name}")
    fixture = plugin.network_lab.__wrapped__  # type: ignore[attr-defined] # the function under the fixture
    with pytest.raises(outcome, match="The network lab cannot be built"):
        fixture(tls_serving)
