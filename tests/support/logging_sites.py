"""An exam site that logs ClientHellos: a small application behind a real nginx or HAProxy as docs/examples has them.

Room: tests. Starts programs and listens on loopback.
"""

from __future__ import annotations

import contextlib
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aiohttp import web
from detector_testing.streams import LOOPBACK
from support.lab_programs import free_port, running_application, running_haproxy, running_nginx

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from detector_testing import Issued

EXAMPLES: Final = Path(__file__).resolve().parents[2] / "docs" / "examples"
SIGNED_IN: Final = "seat"
"""The query that the application takes for an account: /?seat=7 is signed in as the seventh."""
DATAGRAM_MAX: Final = 1 << 16


class Site:
    """A running site: its port, and what it logged so far."""

    def __init__(self, port: int, read: Callable[[], bytes]) -> None:
        self.port: Final = port
        self.log: Final = read


async def _answer(request: web.Request) -> web.Response:
    """The application: it names the session of a signed-in request, for the server in front of it."""
    seat = request.query.get(SIGNED_IN)
    headers = {} if seat is None else {"X-Exam-Account": f"account-{seat}"}
    return web.Response(text="<title>exam</title>", content_type="text/html", headers=headers)


def _application() -> web.Application:
    application = web.Application()
    application.router.add_get("/{path:.*}", _answer)
    return application


def example(name: str, **instead: str) -> str:
    """One of the published configurations; `instead` replaces what has to differ on a test machine."""
    text = (EXAMPLES / name).read_text("utf-8")
    for old, new in instead.items():
        assert old in text, f"{name} no longer has {old}"
        text = text.replace(old, new)
    return text


@contextlib.asynccontextmanager
async def nginx_site(issued: Issued, folder: Path) -> AsyncIterator[Site]:
    """The site behind nginx."""
    chain, key, log = folder / "chain.pem", folder / "key.pem", folder / "detector.log"
    chain.write_bytes(issued.chain_pem)
    key.write_bytes(issued.key_pem)
    port = free_port()
    async with running_application(_application()) as behind:
        published = example(
            "nginx.conf",
            **{
                "443 ssl": f"{LOOPBACK}:{port} ssl",
                "/etc/ssl/exam/chain.pem": str(chain),
                "/etc/ssl/exam/key.pem": str(key),
                "/var/log/nginx/access.log": str(folder / "access.log"),
                "/var/log/nginx/detector.log": str(log),
                "127.0.0.1:8080": f"{LOOPBACK}:{behind}",
            },
        )
        async with running_nginx(port, folder, published):
            yield Site(port, log.read_bytes)


@contextlib.asynccontextmanager
async def haproxy_site(issued: Issued, folder: Path) -> AsyncIterator[Site]:
    """The site behind HAProxy, whose log daemon is a socket here."""
    both = folder / "chain-and-key.pem"
    both.write_bytes(issued.chain_pem + issued.key_pem)
    port = free_port()
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        path = f"{short}/log"  # a path of a socket has at most 107 bytes
        daemon.bind(path)
        daemon.setblocking(False)  # noqa: FBT003 - the standard library's signature
        logged = bytearray()

        def read() -> bytes:
            with contextlib.suppress(BlockingIOError):
                while True:
                    logged.extend(daemon.recv(DATAGRAM_MAX).rstrip(b"\n") + b"\n")
            return bytes(logged)

        async with running_application(_application()) as behind:
            published = example(
                "haproxy.cfg",
                **{
                    "bind :443": f"bind {LOOPBACK}:{port}",
                    "/etc/ssl/exam/chain-and-key.pem": str(both),
                    "/dev/log": path,
                    "127.0.0.1:8080": f"{LOOPBACK}:{behind}",
                },
            )
            async with running_haproxy(port, folder, published):
                yield Site(port, read)


SITES: Final = {"nginx": nginx_site, "haproxy": haproxy_site}
"""By the format of their logs."""
