"""docs/origin.md: its programs run, and its names and numbers are those of the code.

Room: tests of origin. Opens sockets on loopback.
"""

from __future__ import annotations

import asyncio
import re
import socket
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from support.origin_clients import CHROME, CURL, HOST, agent, ask, chrome, openssl
from support.witnesses import until

from detector.origin import asgi, capture, claims, requests
from detector.origin.offer import HELLO_BYTES_MAX
from detector.origin.requests import JA4_HEADERS, UNIX_SOCKET

if TYPE_CHECKING:
    from detector_testing import PrivatePKI

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "origin.md").read_text("utf-8")
PROGRAMS = dict(
    zip(
        ("aiohttp", "asgi", "hypercorn", "proxies"),
        re.findall(r"^```python\n(.*?)\n```$", PAGE, re.MULTILINE | re.DOTALL),
        strict=True,
    )
)
(COMMAND,) = re.findall(r"^```sh\n(.*?)\n```$", PAGE, re.MULTILINE | re.DOTALL)
ANSWERS = ['{"verdict": "nothing-seen"}', '{"verdict": "middleware"}', '{"verdict": "nothing-seen"}']


def program(name: str) -> Any:  # noqa: ANN401 - a module with whatever the program defines
    """One of the page's programs, as a module."""
    module = types.ModuleType(name)
    exec(PROGRAMS[name], module.__dict__)  # noqa: S102 - the page's own program
    return module


@pytest.fixture(autouse=True)
def certificate(pki: PrivatePKI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that the programs read, in the folder that they run in."""
    issued = pki.issue([HOST])
    (tmp_path / "chain.pem").write_bytes(issued.chain_pem)
    (tmp_path / "key.pem").write_bytes(issued.key_pem)
    monkeypatch.chdir(tmp_path)


def free_port() -> int:
    """A port that nothing uses."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


async def answers(port: int) -> list[str]:
    """What Chrome, OpenSSL as Chrome, and OpenSSL as itself are answered."""
    clients = ((chrome(), CHROME), (openssl(), CHROME), (openssl(), CURL))
    found = []
    for tls, name in clients:
        found += await asyncio.to_thread(ask, port, tls, agent(name), path="/start")
    return [text.replace('":"', '": "') for text in found]


async def listening(port: int) -> None:
    """Wait until something accepts connections there."""

    def accepts() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    await until(accepts)


async def test_the_program_for_aiohttp_runs() -> None:
    """The exam platform answers, and collects the sessions of its requests."""
    module, port, stopped = program("aiohttp"), free_port(), asyncio.Event()
    platform = asyncio.ensure_future(module.exam_platform(port, stopped))
    await listening(port)
    assert await answers(port) == ANSWERS
    stopped.set()
    await platform
    (network,) = module.sessions.judgments()
    assert (network.sessions, network.contradicting) == (2, 1)


async def test_the_program_for_hypercorn_runs() -> None:
    """The application of the page, served by its program."""
    app, module, port, stopped = program("asgi").app, program("hypercorn"), free_port(), asyncio.Event()
    platform = asyncio.ensure_future(module.exam_platform(app, port, stopped))
    await listening(port)
    assert await answers(port) == ANSWERS
    stopped.set()
    await platform


async def test_the_command_for_uvicorn_runs() -> None:
    """The application of the page, served with the options of its command."""
    words = COMMAND.split()
    given = dict(zip(words[2::2], words[3::2], strict=True))
    assert words[:2] == ["uvicorn", "exam:app"]
    settings: dict[str, Any] = {name.removeprefix("--").replace("-", "_"): value for name, value in given.items()}
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(program("asgi").app, port=port, log_config=None, **settings))
    serving = asyncio.ensure_future(server._serve())
    await until(lambda: server.started)
    assert await answers(port) == ANSWERS
    server.should_exit = True
    await serving


def test_the_proxies_are_configured() -> None:
    """What the page writes about proxies is accepted."""
    assert isinstance(program("proxies").requests, requests.Requests)


def test_names_and_numbers() -> None:
    """Headers, keys and limits on the page are those of the code."""
    lower = PAGE.lower()
    assert [name for name in JA4_HEADERS if f"`{name}`" not in lower] == []
    assert f'scope["extensions"]["{asgi.CONNECTION}"]["client_hello"]' in PAGE
    assert f'`scope["{asgi.ASSESSMENT}"]`' in PAGE
    assert f'`"{UNIX_SOCKET}"`' in PAGE
    assert f"at most {capture.CONNECTIONS_MAX:,} of at most {HELLO_BYTES_MAX // 1024} KiB" in PAGE
    assert f"The last {requests.ASSESSED_MAX} distinct" in PAGE
    assert f"up to {claims.HEADER_CHARACTERS_MAX} characters" in PAGE
