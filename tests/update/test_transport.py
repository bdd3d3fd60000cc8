"""How a repository is reached: over the guarded connector, never through an interceptor, or from a directory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from detector_testing import Response, run_mitmproxy, serve_middlebox, serve_origin
from support.data_hosts import HOST, URL, connecting, serving, updated
from support.data_repository import DataRepository, newer, shipped_parts
from support.guarding import guard_of, read_head, serve_raw

from detector.errors import InputError, UpdateError
from detector.judge.evidence import no_machine_roots
from detector.knowledge import store
from detector.model import RootOrigin
from detector.trust.roots import from_der
from detector.update import update
from detector.update.transport import DirectoryFetcher, GuardedFetcher, fetcher_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import World
    from detector_testing import PrivatePKI, Request
    from detector_testing.streams import PlainStream, TLSStream


@pytest.fixture
def repository() -> DataRepository:
    return DataRepository(shipped_parts())


async def test_over_the_guarded_connector(
    world: World, pki: PrivatePKI, repository: DataRepository, tmp_path: Path
) -> None:
    """An update comes over connections that were assessed, and asks for the files of the set and nothing else."""
    guard = guard_of(world)
    async with serve_origin(pki.issue([HOST]), handler=serving(repository)) as origin:
        connect = connecting(world, guard, resolve={(HOST, 443): origin.address})
        done = await updated(repository, tmp_path / "knowledge", connect)
        assert done.installed
        assert len(origin.requests) == len(repository.parts) + 4  # the next root, timestamp, snapshot and targets
        asked = {(name, value) for request in origin.requests for name, value in request.headers}
        again = await updated(repository, tmp_path / "knowledge", connect)
        assert (again.installed, len(origin.requests)) == (False, len(repository.parts) + 6)
    assert [assessed.refused for assessed in guard.assessed] == [None] * len(guard.assessed)
    assert {name for name, _ in asked} <= {"host", "accept", "accept-encoding", "user-agent"}
    manifest = store.open_installed(tmp_path / "knowledge").serving.manifest  # type: ignore[union-attr] # it was installed
    assert manifest.repository == URL


async def test_an_interceptor_gets_no_request(
    world: World, pki: PrivatePKI, repository: DataRepository, tmp_path: Path
) -> None:
    """Through an interceptor, its root installed or not, nothing is asked for, and the set in use stays."""
    folder, ca = tmp_path / "knowledge", pki.private_ca("School CA")
    async with (
        serve_origin(pki.issue([HOST]), handler=serving(repository)) as origin,
        serve_middlebox(ca, upstream={(HOST, 443): origin.address}) as box,
    ):
        direct = connecting(world, resolve={(HOST, 443): origin.address})
        before = await updated(repository, folder, direct)
        asked = len(origin.requests)
        installed = from_der([ca.certificate], name="machine", origin=RootOrigin.ADDED)
        for machine in (no_machine_roots, lambda: installed):
            connect = connecting(world, guard_of(world, machine_roots=machine), proxy=box.url)
            with pytest.raises(UpdateError, match=HOST) as caught:
                await updated(repository, folder, connect)
            assert caught.value.advice.startswith("The set in use stays.")
            assert "--from DIR" in caught.value.advice
        assert len(origin.requests) == asked
    current = store.read_current(folder)
    assert current is not None
    assert current.set == before.set


async def test_an_unreachable_repository(world: World, repository: DataRepository, tmp_path: Path) -> None:
    """A server that does not answer is named, with what to do, and is no fault of this program."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        connect = connecting(world, resolve={(HOST, 443): closed.getsockname()})
        with pytest.raises(UpdateError, match=HOST):
            await updated(repository, tmp_path / "knowledge", connect)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Response(status=404), "a file is missing"),
        (Response(status=500), "answers 500"),
        (Response(status=302, headers=(("Location", "https://elsewhere.example/"),)), "another address, which is not"),
        (Response(body=b"<!doctype html>Sign in"), "not the metadata of a repository"),
        (Response(body=b"\x1f\x8b\x08", headers=(("Content-Encoding", "gzip"),)), "not the metadata of a repository"),
        (Response(body=b" " * 70_000), "longer than was signed"),
    ],
)
async def test_answers_that_are_no_repository(  # noqa: PLR0913, PLR0917 - fixtures and a table
    world: World, pki: PrivatePKI, repository: DataRepository, tmp_path: Path, answer: Response, words: str
) -> None:
    """Whatever a server answers, the update is refused with a sentence that names the address."""

    def handler(request: Request) -> Response:
        return serving(repository)(request) if request.target.endswith("2.root.json") else answer

    async with serve_origin(pki.issue([HOST]), handler=handler) as origin:
        connect = connecting(world, resolve={(HOST, 443): origin.address})
        with pytest.raises(UpdateError, match=words) as caught:
            await updated(repository, tmp_path / "knowledge", connect)
    assert HOST in caught.value.message
    assert caught.value.advice.startswith("The set in use stays.")


async def test_a_server_that_never_ends(
    world: World, pki: PrivatePKI, repository: DataRepository, tmp_path: Path
) -> None:
    """A server that sends one byte again and again costs no longer than the update may take."""
    sent: list[int] = []

    async def drip(stream: TLSStream, _: PlainStream, __: int) -> None:
        await read_head(stream)
        await stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n")
        with contextlib.suppress(OSError, EOFError):
            while len(sent) < 10_000:
                await stream.write(b" ")
                sent.append(1)
                await asyncio.sleep(0.01)

    async with serve_raw(pki.issue([HOST]), drip) as server:
        connect = connecting(world, resolve={(HOST, 443): server.address})
        with pytest.raises(UpdateError, match="not fetched within 1 seconds"):
            await updated(repository, tmp_path / "knowledge", connect, seconds=1)
    assert len(sent) < 10_000


@pytest.mark.parametrize(
    "place",
    [
        "http://data.example.org/",
        "ftp://data.example.org/",
        "https://user:secret@data.example.org/",
        "https://data.example.org/?token=secret",
        "https://data.example.org/#secret",
        "https:///knowledge",
        "https://[::1",
        "https://data.example.org/" + "x" * 300,
        "file://server/share",
    ],
)
def test_addresses_that_are_refused(place: str) -> None:
    """An address without TLS, with more than host and path, or of no kind that is known, is a wrong argument."""
    with pytest.raises(InputError) as caught:
        fetcher_of(place)
    assert "secret" not in str(caught.value)


def test_addresses_that_are_taken(tmp_path: Path) -> None:
    """An https URL, a file URL and a directory are repositories; what names a directory must be one."""
    (tmp_path / "metadata").mkdir()
    for place in (str(tmp_path), tmp_path.as_uri(), f"file://localhost{tmp_path}"):
        assert isinstance(fetcher_of(place), DirectoryFetcher)
    with fetcher_of("https://data.example.org/knowledge/") as fetcher:
        assert isinstance(fetcher, GuardedFetcher)
        assert fetcher.base == "https://data.example.org/knowledge/"
    with pytest.raises(InputError, match="not a repository"):
        fetcher_of(str(tmp_path / "metadata"))


def test_files_that_are_none(repository: DataRepository, tmp_path: Path) -> None:
    """A directory, a pipe and a file that cannot be read in place of a file are named, and nothing waits for them."""
    served = repository.write(tmp_path / "served")
    timestamp = served / "metadata" / "timestamp.json"
    timestamp.unlink()
    makers: tuple[Callable[[Path], None], ...] = (Path.mkdir, os.mkfifo)
    for make in makers:
        make(timestamp)
        with pytest.raises(UpdateError, match=r"timestamp\.json"):
            update(str(served), folder=tmp_path / "knowledge", root=served / "metadata" / "1.root.json")
        (timestamp.rmdir if timestamp.is_dir() else timestamp.unlink)()


@pytest.mark.lab
async def test_mitmproxy(world: World, pki: PrivatePKI, repository: DataRepository, tmp_path: Path) -> None:
    """The real mitmproxy, whose root is installed, can deny an update; it sees no request, and the old set stays."""
    folder = tmp_path / "knowledge"
    async with (
        serve_origin(pki.issue([HOST]), handler=serving(repository)) as origin,
        run_mitmproxy(upstream_hosts={(HOST, 443): origin.address}) as mitm,
    ):
        before = await updated(repository, folder, connecting(world, resolve={(HOST, 443): origin.address}))
        repository.parts = newer(repository.parts, "ct_logs.json")
        repository.publish()
        asked = len(origin.requests)
        installed = from_der([mitm.ca_certificate], name="machine", origin=RootOrigin.ADDED)
        guard = guard_of(world, machine_roots=lambda: installed)
        with pytest.raises(UpdateError, match=HOST) as caught:
            await updated(repository, folder, connecting(world, guard, proxy=mitm.url))
        assert caught.value.advice.startswith("The set in use stays.")
        assert (len(origin.requests), mitm.overheard) == (asked, b"")
        assert store.open_installed(folder).serving.folder.name == before.set  # type: ignore[union-attr] # it serves
        again = await updated(repository, folder, connecting(world, resolve={(HOST, 443): origin.address}))
        assert again.changed == ("ct_logs.json",)
