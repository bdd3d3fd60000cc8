"""The native engine meets TLS servers that are not OpenSSL: GnuTLS, NSS (Debian) and Go's crypto/tls, built here.

Room: tests of probe. Starts programs on loopback and opens connections to them. What OpenSSL says of them is the
measure; where the native engine hands over, a look ends as OpenSSL's alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
from programs import find, free_port, running

from detector.model import Endpoint, Engine, Outcome
from detector.probe import DirectDialer, probe
from detector.testing.streams import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from detector.model import Observation
    from detector.testing import Issued, PrivatePKI
    from detector.testing.pki import KeyKind

    Stack = Callable[..., AbstractAsyncContextManager[int]]
    """Starts a server and gives its port; `asks` has it ask for a client's certificate."""

pytestmark = [pytest.mark.lab, pytest.mark.native]

HOST: Final = "exam.example.edu"
KINDS: Final[tuple[KeyKind, ...]] = ("ec", "ec384", "rsa", "ed25519")


class Files(NamedTuple):
    """A certificate chain and its key as servers read them, a folder for their own, and Go's server, built."""

    chain: Path
    key: Path
    folder: Path
    go_server: Path


async def run(program: str, *arguments: str, folder: Path | None = None) -> None:
    """Run a program to its end, which must be a good one."""
    process = await asyncio.create_subprocess_exec(
        find(program), *arguments, cwd=folder, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert process.returncode == 0, f"{program}: {said.decode(errors='replace')}"


@pytest.fixture(scope="session")
def go_server(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server of `go_server/main.go`."""
    built = tmp_path_factory.mktemp("go") / "goserver"
    asyncio.run(run("go", "build", "-o", str(built), ".", folder=Path(__file__).with_name("go_server")))
    return built


@pytest.fixture
def files(go_server: Path, tmp_path: Path) -> Files:
    return Files(tmp_path / "chain.pem", tmp_path / "key.pem", tmp_path, go_server)


@contextlib.asynccontextmanager
async def gnutls(files: Files, *, asks: bool = False, priority: str = "NORMAL") -> AsyncIterator[int]:
    port = free_port()
    settings = [] if asks else ["--disable-client-cert"]
    settings += ["--x509certfile", str(files.chain), "--x509keyfile", str(files.key), "--priority", priority]
    async with running(port, "gnutls-serv", "--quiet", "--port", str(port), *settings):
        yield port


@contextlib.asynccontextmanager
async def nss(files: Files, *, asks: bool = False, groups: str = "x25519") -> AsyncIterator[int]:
    port, database, bag = free_port(), f"sql:{files.folder}", files.folder / "server.p12"
    await run("certutil", "-N", "-d", database, "--empty-password")
    made = ("-in", str(files.chain), "-inkey", str(files.key), "-out", str(bag), "-name", "server")
    await run("openssl", "pkcs12", "-export", *made, "-passout", "pass:x")
    await run("pk12util", "-i", str(bag), "-d", database, "-W", "x")
    settings = [*(["-r"] if asks else []), "-n", "server", "-V", "tls1.2:tls1.3", "-I", groups, "-Q"]
    async with running(port, "selfserv", "-D", "-p", str(port), "-d", database, *settings):
        yield port


@contextlib.asynccontextmanager
async def go(files: Files, *, asks: bool = False) -> AsyncIterator[int]:
    port = free_port()
    settings = [f"{LOOPBACK}:{port}", str(files.chain), str(files.key), *(["request"] if asks else [])]
    async with running(port, str(files.go_server), *settings):
        yield port


async def look(port: int, engine: Engine) -> Observation:
    return await probe(Endpoint(host=HOST, address=(LOOPBACK, port)), dialer=DirectDialer(), engine=engine)


def told(observation: Observation) -> dict[str, object]:
    """What both engines must tell alike; signatures, randoms and times are each connection's own."""
    same = ("outcome", "key_proved", "tls_version", "cipher", "group", "alpn", "alert", "chain")
    return {name: getattr(observation, name) for name in same}


def put(issued: Issued, files: Files) -> None:
    files.chain.write_bytes(issued.chain_pem)
    files.key.write_bytes(issued.key_pem)


@pytest.mark.parametrize(
    ("stack", "kind"),
    [(stack, kind) for stack in (gnutls, nss, go) for kind in KINDS if (stack, kind) != (nss, "ed25519")],
)
async def test_regular_handshakes_are_the_native_engines(
    stack: Stack, kind: KeyKind, tls_pki: PrivatePKI, files: Files
) -> None:
    """One connection, no OpenSSL, and every fact as OpenSSL alone tells it. (NSS's database takes no Ed25519 key.)"""
    issued = tls_pki.issue([HOST], key=kind)
    put(issued, files)
    async with stack(files) as port:
        mine, alone = await look(port, Engine.AUTO), await look(port, Engine.OPENSSL)
    assert (mine.engine, mine.attempts) == (Engine.NATIVE, 1)
    assert (mine.outcome, mine.key_proved, mine.tls_version) == (Outcome.COMPLETE, True, "TLSv1.3")
    assert tuple(presented.der for presented in mine.chain) == issued.chain
    assert told(mine) == told(alone)


@pytest.mark.parametrize(
    ("stack", "settings"),
    [
        (gnutls, {"asks": True}),
        (nss, {"asks": True}),
        (go, {"asks": True}),
        (gnutls, {"priority": "NORMAL:-GROUP-ALL:+GROUP-SECP256R1"}),
        (gnutls, {"priority": "NORMAL:-GROUP-ALL:+GROUP-FFDHE2048"}),
        (nss, {"groups": "P384"}),
        (gnutls, {"priority": "NORMAL:-VERS-TLS1.3"}),
    ],
    ids=["GnuTLS asks", "NSS asks", "Go asks", "P-256", "FFDHE", "P-384", "TLS 1.2"],
)
async def test_what_else_they_want_is_handed_over(
    stack: Stack, settings: dict[str, Any], tls_pki: PrivatePKI, files: Files
) -> None:
    """A client's certificate, a HelloRetryRequest, an older version: a second connection, and OpenSSL's answer."""
    put(tls_pki.issue([HOST]), files)
    async with stack(files, **settings) as port:
        both, alone = await look(port, Engine.AUTO), await look(port, Engine.OPENSSL)
    assert (both.engine, both.attempts) == (Engine.OPENSSL, 2)
    assert (both.outcome, both.key_proved) == (Outcome.COMPLETE, True)
    assert told(both) == told(alone)
