"""Room: testing. The proxy that decrypts nothing: honest, refusing, lying."""

from __future__ import annotations

import asyncio
import base64

import pytest
from detector_testing import Lie, PrivatePKI, serve_origin, serve_proxy
from detector_testing.streams import connect
from loopback_client import EXAM, read_all, tunnel, visit


async def test_an_honest_proxy_tunnels(tls_pki: PrivatePKI) -> None:
    """The origin's own chain arrives through the proxy, wherever the name is mapped to."""
    issued = tls_pki.issue([EXAM])
    async with serve_origin(issued) as origin, serve_proxy(upstream={(EXAM, 443): origin.address}) as proxy:
        assert (await visit(proxy.address, through=f"{EXAM}:443")).chain == issued.chain
        assert (await visit(proxy.address, through=f"127.0.0.1:{origin.port}")).chain == issued.chain
    assert proxy.targets == [(EXAM, 443), origin.address]
    assert proxy.tunnels == 2
    assert proxy.url == f"http://127.0.0.1:{proxy.port}"


async def test_credentials_are_asked_for_and_taken(tls_pki: PrivatePKI) -> None:
    """Without or with wrong credentials 407, with the right ones a tunnel."""
    async with (
        serve_origin(tls_pki.issue([EXAM])) as origin,
        serve_proxy(upstream={(EXAM, 443): origin.address}, require_auth="student:secret") as proxy,
    ):
        answers = []
        for credentials in ("", "student:wrong", "student:secret"):
            header = f"Proxy-Authorization: Basic {base64.b64encode(credentials.encode()).decode()}"
            stream, answer = await tunnel(proxy.address, f"{EXAM}:443", *([header] if credentials else []))
            answers.append(answer.split(b"\r\n")[0].split()[1])
            assert (b"Proxy-Authenticate: Basic" in answer) is (answers[-1] == b"407")
            await stream.close()
    assert answers == [b"407", b"407", b"200"]


@pytest.mark.parametrize("status", [403, 502, 511])
async def test_refusals_have_the_status_asked_for(status: int) -> None:
    """Every tunnel is refused with that status and the connection ends."""
    async with serve_proxy(refuse=status) as proxy:
        stream, answer = await tunnel(proxy.address, f"{EXAM}:443")
        rest, error = await read_all(stream)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert (rest, error) == (b"", "")


async def test_unknown_and_dead_targets_are_502() -> None:
    """A name without an entry is not looked up; an address where nobody listens is reported."""
    async with serve_proxy() as gone:
        nobody = gone.port
    async with serve_proxy() as proxy:
        for target in ("unknown.example:443", "192.0.2.1:443", f"127.0.0.1:{nobody}"):
            stream, answer = await tunnel(proxy.address, target)
            await stream.close()
            assert answer.startswith(b"HTTP/1.1 502 ")


@pytest.mark.parametrize(("request_line", "status"), [("GET / HTTP/1.1", 405), ("CONNECT nowhere HTTP/1.1", 400)])
async def test_other_requests_are_refused(request_line: str, status: int) -> None:
    """Only CONNECT with host and port is served."""
    async with serve_proxy() as proxy:
        stream = await connect(proxy.address)
        await stream.write(f"{request_line}\r\nHost: a\r\n\r\n".encode())
        answer, _ = await read_all(stream)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())


@pytest.mark.parametrize(
    ("lie", "beginning"),
    [(Lie.GARBAGE, b"\x00\x01\x02"), (Lie.BODY_BEFORE_STATUS, b"<!doctype html>"), (Lie.CLOSE, b"")],
)
async def test_lies_that_end(lie: Lie, beginning: bytes) -> None:
    """What is no answer to CONNECT comes, then the end."""
    async with serve_proxy(lie=lie) as proxy:
        stream, answer = await tunnel(proxy.address, f"{EXAM}:443")
        await stream.close()
    assert answer.startswith(beginning)
    assert bool(answer) is bool(beginning)


async def test_a_body_with_the_200_comes_before_the_tunnel(tls_pki: PrivatePKI) -> None:
    """A Content-Length and content stand where the tunnel should begin."""
    async with (
        serve_origin(tls_pki.issue([EXAM])) as origin,
        serve_proxy(upstream={(EXAM, 443): origin.address}, lie="body-with-200") as proxy,
    ):
        stream, answer = await tunnel(proxy.address, f"{EXAM}:443")
        await stream.close()
    assert answer.endswith(b"Content-Length: 6\r\n\r\nhello\n")


async def test_a_hanging_proxy_says_nothing() -> None:
    """No answer comes while the client waits."""
    async with serve_proxy(lie=Lie.HANG) as proxy:
        stream = await connect(proxy.address)
        await stream.write(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stream.read(), 0.05)
        await stream.close()


async def test_an_endless_header_goes_on() -> None:
    """More header comes than any client should read, and no end of it."""
    async with serve_proxy(lie=Lie.ENDLESS_HEADER) as proxy:
        stream, received = await tunnel(proxy.address, f"{EXAM}:443")
        while len(received) < 1 << 20:
            received += await stream.read()
        await stream.close()
    assert b"\n\r\n" not in received


async def test_a_header_too_large_ends_the_connection() -> None:
    """What is no HTTP, or too much of it, is cut off without harm to the proxy."""
    async with serve_proxy() as proxy:
        for data in (b"\x16\x03\x01" * 100 + b"\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\nX: " + b"a" * 100_000):
            stream = await connect(proxy.address)
            await stream.write(data)
            answer, _ = await read_all(stream)
            assert answer == b""
        assert proxy.targets == []
