"""The native engine meets TLS servers that others made: GnuTLS, NSS, OpenSSL, nginx (Debian) and Go's, built here.

Room: tests of probe. Starts programs on loopback and opens connections to them. What OpenSSL says of them is the
measure; where the native engine hands over, a look ends as OpenSSL's alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
from detector_testing.streams import LOOPBACK
from support.lab_programs import free_port, running
from support.system import program as system_program

from detector.model import Endpoint, Engine, Outcome
from detector.probe import DirectDialer, probe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from detector_testing import Issued, PrivatePKI
    from detector_testing.pki import KeyKind

    from detector.model import Observation

    Stack = Callable[..., AbstractAsyncContextManager[int]]
    """Starts a server and gives its port; `asks` has it ask for a client's certificate."""

pytestmark = [pytest.mark.lab, pytest.mark.native]

HOST: Final = "exam.example.edu"
KINDS: Final[tuple[KeyKind, ...]] = ("ec", "ec384", "rsa", "ed25519")


SCT: Final = bytes.fromhex("00c0ffee")
"""Stands for an SCT, which servers pass on unread."""


class Files(NamedTuple):
    """A certificate chain, its key and an OCSP response as servers read them, a folder, and Go's server, built."""

    chain: Path
    key: Path
    response: Path
    folder: Path
    go_server: Path


async def run(program: str, *arguments: str, folder: Path | None = None) -> None:
    """Run a program to its end, which must be a good one."""
    process = await asyncio.create_subprocess_exec(
        system_program(program),
        *arguments,
        cwd=folder,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
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
    return Files(tmp_path / "chain.pem", tmp_path / "key.pem", tmp_path / "response.der", tmp_path, go_server)


@contextlib.asynccontextmanager
async def gnutls(
    files: Files, *, asks: bool = False, priority: str = "NORMAL", staples: bool = False, old: bool = False
) -> AsyncIterator[int]:
    port = free_port()
    settings = [] if asks else ["--disable-client-cert"]
    settings += ["--ocsp-response", str(files.response)] if staples else []
    priority += ":-VERS-TLS1.3" if old else ""
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
async def go(
    files: Files, *, asks: bool = False, retries: bool = False, staples: bool = False, old: bool = False
) -> AsyncIterator[int]:
    port, sct = free_port(), files.folder / "sct.bin"
    sct.write_bytes(SCT)
    settings = [f"{LOOPBACK}:{port}", str(files.chain), str(files.key), *(["request"] if asks else [])]
    settings += [f"response={files.response}", f"sct={sct}"] if staples else []
    settings += [name for name, wanted in (("p256", retries), ("tls12", old)) if wanted]
    async with running(port, str(files.go_server), *settings):
        yield port


@contextlib.asynccontextmanager
async def openssl(files: Files, *, staples: bool = False, old: bool = False) -> AsyncIterator[int]:
    port = free_port()
    settings = ["-accept", f"{LOOPBACK}:{port}", "-cert", str(files.chain), "-cert_chain", str(files.chain)]
    settings += ["-key", str(files.key), "-quiet", *(["-status_file", str(files.response)] if staples else [])]
    async with running(port, "openssl", "s_server", *settings, "-tls1_2" if old else "-tls1_3"):
        yield port


@contextlib.asynccontextmanager
async def nginx(files: Files, *, staples: bool = False, old: bool = False) -> AsyncIterator[int]:
    port, settings = free_port(), files.folder / "nginx.conf"
    folders = "".join(f"{kind}_temp_path {kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    settings.write_text(
        "daemon off; master_process off; pid pid; error_log error.log; events { worker_connections 64; }\n"
        f"http {{ access_log off; {folders} server {{ listen {LOOPBACK}:{port} ssl;\n"
        f"ssl_certificate {files.chain}; ssl_certificate_key {files.key}; ssl_protocols TLSv1.{2 if old else 3};\n"
        + (f"ssl_stapling on; ssl_stapling_file {files.response};\n" if staples else "")
        + "} }\n"
    )
    async with running(port, "nginx", "-p", str(files.folder), "-c", str(settings)):
        yield port


async def look(port: int, engine: Engine) -> Observation:
    return (await probe(Endpoint(host=HOST, address=(LOOPBACK, port)), dialer=DirectDialer(), engine=engine)).single


def told(observation: Observation) -> dict[str, object]:
    """What both engines must tell alike; signatures, randoms and times are each connection's own."""
    same = ("outcome", "key_proved", "tls_version", "cipher", "group", "alpn", "alert", "chain")
    outside = ("sct_list", "ocsp_response", "scts_carried")
    return {name: getattr(observation, name) for name in (*same, *outside)}


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
        (go, {"retries": True}),
        (gnutls, {"priority": "NORMAL:-VERS-TLS1.3"}),
    ],
    ids=["GnuTLS asks", "NSS asks", "Go asks", "P-256", "FFDHE", "P-384", "Go compares hellos", "TLS 1.2"],
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


@pytest.mark.parametrize("old", [False, True], ids=["TLS 1.3", "TLS 1.2"])
@pytest.mark.parametrize("staples", [False, True])
@pytest.mark.parametrize("stack", [openssl, nginx, gnutls, go])
async def test_what_they_send_with_the_leaf(
    stack: Stack,
    staples: bool,  # noqa: FBT001 - a table
    old: bool,  # noqa: FBT001 - a table
    tls_pki: PrivatePKI,
    files: Files,
) -> None:
    """The stapled response is the one that the server was given. Go's alone sends SCTs. One connection is enough."""
    issued = tls_pki.issue([HOST])
    put(issued, files)
    files.response.write_bytes(tls_pki.intermediate_ec.ocsp_response(issued.leaf))
    async with stack(files, staples=staples, old=old) as port:
        mine, alone = await look(port, Engine.AUTO), await look(port, Engine.OPENSSL)
    assert mine.engine is (Engine.OPENSSL if old else Engine.NATIVE)
    assert (mine.outcome, mine.key_proved, mine.scts_carried) == (Outcome.COMPLETE, True, True)
    assert mine.ocsp_response == (files.response.read_bytes() if staples else None)
    of_go = (len(SCT) + 2).to_bytes(2, "big") + len(SCT).to_bytes(2, "big") + SCT
    assert mine.sct_list == (of_go if staples and stack is go else None)
    assert told(mine) == told(alone)
