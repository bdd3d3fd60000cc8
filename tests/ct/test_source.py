"""Room: tests of ct."""

from __future__ import annotations

import dataclasses
import gzip
from typing import TYPE_CHECKING

import pytest
from detector_testing import PrivatePKI, Response, StaticLog, serve_files, serve_origin
from hypothesis import given
from hypothesis import strategies as st

from detector.ct import source
from detector.ct.source import inflated, open_source
from detector.errors import InputError
from detector.probe import DirectDialer

if TYPE_CHECKING:
    from pathlib import Path

    from detector_testing import Request

    from detector.model import Endpoint
    from detector.probe import Dialer


class Dialers:
    """Connects every host to one port of this machine, and counts the connections."""

    def __init__(self, host: str, port: int, to: int) -> None:
        self.count = 0
        self._dialer = DirectDialer({(host, port): ("127.0.0.1", to)})

    async def __call__(self, endpoint: Endpoint) -> Dialer:
        """The dialer for a connection."""
        assert endpoint.host
        self.count += 1
        return self._dialer


@pytest.fixture(autouse=True)
def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests wait for no turn."""
    monkeypatch.setattr(source, "REQUESTS_PER_SECOND", 1e6)


async def test_an_https_server_is_read_over_one_connection(pki: PrivatePKI) -> None:
    """Files come over one connection, no matter who issued the server's certificate; what is missing is None."""
    log = StaticLog.create()
    log.fill(300, lambda index: b"%d" % index)
    host = "elm.ct.example"
    encodings: list[str] = []

    def answer(request: Request) -> Response:
        encodings.append(dict(request.headers)["accept-encoding"])
        assert request.target.startswith("/2026/")
        return log.answer(dataclasses.replace(request, target=request.target.removeprefix("/2026")))

    async with serve_origin(pki.self_signed([host]), handler=answer) as origin:
        dialers = Dialers(host, 443, origin.port)
        reader = open_source(f"https://{host}/2026/", dialers)
        assert await reader.read("tile/0/000", 8192) == log.files()["tile/0/000"]
        assert await reader.read("tile/data/000", 10**6) == log.files()["tile/data/000"]
        assert dialers.count == 1
        assert await reader.read("tile/0/x001/000", 8192) is None
        assert await reader.read("checkpoint", 10**6) is not None
        assert await reader.read("tile/0/000", 100) is None
        await reader.close()
    assert set(encodings) == {"gzip, identity"}


async def test_an_http_server_is_read() -> None:
    """A mirror without TLS."""
    log = StaticLog.create()
    log.fill(3, lambda index: b"%d" % index)
    async with serve_files(log.files("/elm/")) as origin:
        reader = open_source("http://mirror.example/elm", Dialers("mirror.example", 80, origin.port))
        assert await reader.read("checkpoint", 10**6) is not None
        assert await reader.read("tile/0/000.p/3", 96) == log.files()["tile/0/000.p/3"]
        assert await reader.read("tile/0/000", 8192) is None
        await reader.close()


async def test_a_server_that_is_not_there_gives_nothing() -> None:
    """No connection, no file, and no exception."""
    for scheme, port in (("https", 443), ("http", 80)):
        reader = open_source(f"{scheme}://elm.ct.example", Dialers("elm.ct.example", port, 1))
        assert await reader.read("checkpoint", 100) is None
        await reader.close()


async def test_a_folder_is_read(tmp_path: Path) -> None:
    """By its path or as a URL; larger files and folders are None."""
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "checkpoint").write_bytes(b"12345")
    (tmp_path / "a b" / "tile").mkdir()
    for place in (str(tmp_path / "a b"), (tmp_path / "a b").as_uri()):
        reader = open_source(place, Dialers("", 0, 1))
        assert await reader.read("checkpoint", 5) == b"12345"
        assert await reader.read("checkpoint", 4) is None
        assert await reader.read("tile", 4) is None
        assert await reader.read("none", 4) is None
        await reader.close()


@pytest.mark.parametrize(
    "place",
    ["/no/such/folder", "https://", "https://user@host/", "http://host/?a", "ftp://host/", "a\0b", "file:///no"],
)
def test_what_is_no_place_is_refused(place: str) -> None:
    """A folder that is not there, and URLs that are not requested."""
    with pytest.raises(InputError):
        open_source(place, Dialers("", 0, 1))


def test_compressed_files_are_bounded() -> None:
    """A file that unpacks to more than is read, that is cut short, or that has more behind it, is None."""
    packed = gzip.compress(bytes(10**6))
    assert inflated(packed, 10**6) == bytes(10**6)
    assert inflated(packed, 10**6 - 1) is None
    assert inflated(packed[:-1], 10**6) is None
    assert inflated(packed + b"a", 10**6) is None
    assert inflated(b"plain", 5) == b"plain"
    assert inflated(b"plain", 4) is None


@given(st.binary(max_size=200), st.integers(0, 300))
def test_unpacking_never_raises(data: bytes, most: int) -> None:
    """Whatever comes, it is at most as long as it may be."""
    for sent in (data, b"\x1f\x8b" + data, b"\x1f\x8b\x08\x00" + data, gzip.compress(data)):
        found = inflated(sent, most)
        assert found is None or len(found) <= most
