"""Room: testing. Servers in a thread: how they start, stop and fail; and contexts of the standard library's `ssl`."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from typing import TYPE_CHECKING

import pytest
from detector_testing import PrivatePKI, Request, Response, Serving, serve_origin, serving
from detector_testing.threads import LoopThread
from loopback_client import EXAM

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def fetch(address: tuple[str, int], context: ssl.SSLContext) -> bytes:
    """Send one request over the standard library's TLS and return the answer."""
    with (
        socket.create_connection(address) as plain,
        context.wrap_socket(plain, server_hostname=EXAM, suppress_ragged_eofs=False) as stream,
    ):
        stream.sendall(b"GET / HTTP/1.1\r\nHost: exam.example.edu\r\nConnection: close\r\n\r\n")
        return b"".join(iter(lambda: stream.recv(65536), b""))


@pytest.mark.parametrize("key", ["ec", "rsa"])
def test_a_context_that_trusts_the_pki_takes_its_leaves(tls_pki: PrivatePKI, key: str) -> None:
    """The strict verification of the standard library accepts leaves under both roots."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    tls_pki.configure_trust(context)
    with serving(serve_origin(tls_pki.issue([EXAM], key="rsa" if key == "rsa" else "ec"))) as origin:
        assert b"This is exam.example.edu" in fetch(origin.address, context)
        assert origin.handshakes == 1


def test_a_context_refuses_a_ca_it_does_not_trust(tls_pki: PrivatePKI) -> None:
    """Trust in the public-like roots is no trust in a private CA; `CA.configure_trust` adds it."""
    ca = tls_pki.private_ca()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls_pki.configure_trust(context)
    with Serving() as start:
        origin = start(serve_origin(ca.issue([EXAM])))
        with pytest.raises(ssl.SSLCertVerificationError):
            fetch(origin.address, context)
        ca.configure_trust(context)
        assert b"HTTP/1.1 200" in fetch(origin.address, context)


def test_a_server_context_presents_chain_and_key(tls_pki: PrivatePKI) -> None:
    """A server made with `ssl` alone completes a verified handshake, intermediates included."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    issued = tls_pki.issue([EXAM], cross_signed=True)
    issued.configure_cert(server)
    tls_pki.configure_trust(client)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    left = server.wrap_bio(to_server, to_client, server_side=True)
    right = client.wrap_bio(to_client, to_server, server_hostname=EXAM)
    for _ in range(3):
        for side in (right, left):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    assert right.getpeercert(binary_form=True) == issued.leaf


def test_a_failure_in_a_server_is_raised_when_it_stops(tls_pki: PrivatePKI) -> None:
    """An exception of a handler is not passed over, in a thread either, and the thread ends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls_pki.configure_trust(context)

    def fail(_: Request) -> Response:
        raise LookupError("the handler failed")

    with pytest.raises(LookupError, match="the handler failed"), Serving() as start:  # noqa: PT012 - the block is what ends
        origin = start(serve_origin(tls_pki.issue([EXAM]), handler=fail))
        with contextlib.suppress(OSError):
            fetch(origin.address, context)
    assert "serving" not in {thread.name for thread in threading.enumerate()}


def test_a_server_that_cannot_start_says_why(tls_pki: PrivatePKI) -> None:
    """A taken port is an OSError of the call; what runs already goes on."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls_pki.configure_trust(context)
    with Serving() as start:
        origin = start(serve_origin(tls_pki.issue([EXAM])))
        with pytest.raises(OSError, match="in use"):
            start(serve_origin(tls_pki.issue([EXAM]), port=origin.port))
        assert b"HTTP/1.1 200" in fetch(origin.address, context)


def test_servers_stop_in_reverse_order() -> None:
    """What was started last, which may depend on the rest, stops first."""
    ended: list[str] = []

    @contextlib.asynccontextmanager
    async def part(name: str) -> AsyncIterator[str]:
        try:
            yield name
        finally:
            ended.append(name)

    with Serving() as start:
        assert [start(part(name)) for name in ("first", "second")] == ["first", "second"]
    assert ended == ["second", "first"]


def test_a_thread_that_cannot_be_prepared_raises() -> None:
    """An OSError of `prepare` is raised by `start`, and `stop` then has nothing to do."""

    def prepare() -> None:
        raise OSError("no such namespace")

    thread = LoopThread("unprepared", prepare)
    with pytest.raises(OSError, match="no such namespace"):
        thread.start()
    thread.stop()
