"""A real nginx and HAProxy in front of an application that assesses its requests, as docs/origin.md has them.

Room: tests. Starts programs and listens on loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from aiohttp import web
from support.lab_programs import free_port, running_application, running_haproxy, running_nginx
from support.origin_clients import CHROME, CURL, FIREFOX, HOST, agent, ask, chrome, openssl

from detector.origin.aiohttp import ASSESSMENT, middleware
from detector.origin.capture import HelloCapture
from detector.origin.requests import Proxy, Requests

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from detector_testing import Issued, PrivatePKI

    from detector.origin.requests import Form

pytestmark = pytest.mark.lab

PAGE: Final = (Path(__file__).resolve().parent.parent.parent / "docs" / "origin.md").read_text("utf-8")
HEADER: Final = "X-TLS-Offer"


def block(language: str) -> str:
    """The page's configuration of a proxy."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def application(form: Form) -> web.Application:
    """The application, which believes the proxy on this machine."""

    async def verdict(request: web.Request) -> web.Response:
        found = request.get(ASSESSMENT)
        return web.Response(text="none" if found is None else f"{found.judgment.verdict} {found.judgment.confidence}")

    requests = Requests(proxies=[Proxy(peers=("127.0.0.1",), header=HEADER, form=form)])
    served = web.Application(middlewares=[middleware(HelloCapture().hello_of, requests=requests)])
    served.router.add_get("/", verdict)
    return served


@contextlib.asynccontextmanager
async def nginx(issued: Issued, folder: Path, behind: int) -> AsyncIterator[int]:
    """nginx with the page's location."""
    chain, key, port = folder / "chain.pem", folder / "key.pem", free_port()
    chain.write_bytes(issued.chain_pem)
    key.write_bytes(issued.key_pem)
    location = block("nginx").replace("127.0.0.1:8080", f"127.0.0.1:{behind}")
    http = (
        f"access_log off; server {{ listen 127.0.0.1:{port} ssl;\n"
        f"ssl_certificate {chain}; ssl_certificate_key {key};\n{location} }}"
    )
    async with running_nginx(port, folder, http):
        yield port


@contextlib.asynccontextmanager
async def haproxy(issued: Issued, folder: Path, behind: int) -> AsyncIterator[int]:
    """HAProxy with the page's line."""
    both, port = folder / "both.pem", free_port()
    both.write_bytes(issued.chain_pem + issued.key_pem)
    configuration = (
        "global\n  tune.ssl.capture-buffer-size 512\n"
        "defaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n"
        f"frontend exam\n  bind 127.0.0.1:{port} ssl crt {both}\n  {block('haproxy')}  default_backend exam\n"
        f"backend exam\n  server application 127.0.0.1:{behind}\n"
    )
    async with running_haproxy(port, folder, configuration):
        yield port


@pytest.mark.parametrize("form", ["nginx", "haproxy"])
async def test_what_the_proxy_passes(form: Form, pki: PrivatePKI, tmp_path: Path) -> None:
    """Chrome is left alone, OpenSSL under a browser's name is seen, and a header of the client's own is replaced."""
    proxy = nginx if form == "nginx" else haproxy
    genuine = {HEADER: '{"ciphers":"0x1a1a:TLS_AES_128_GCM_SHA256","curves":"0x2a2a:X25519","user_agent":""}'}
    async with running_application(application(form)) as behind, proxy(pki.issue([HOST]), tmp_path, behind) as port:
        left_alone = await asyncio.to_thread(ask, port, chrome(), agent(CHROME), agent(CHROME))
        found = await asyncio.to_thread(ask, port, openssl(), agent(CHROME), {**agent(FIREFOX), **genuine}, agent(CURL))
        without_proxy = await asyncio.to_thread(ask, behind, None, agent(CHROME))
    assert left_alone == ["nothing-seen None"] * 2
    assert found == ["middleware probable", "middleware probable", "nothing-seen None"]
    assert without_proxy == ["none"]
