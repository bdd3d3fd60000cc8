"""The native engine meets TLS servers that others made: GnuTLS, NSS, OpenSSL, nginx (Debian) and Go's, built here.

Room: tests of probe. Starts programs on loopback and opens connections to them. What OpenSSL says of them is the
measure. Whatever Chrome finishes with them, the native engine finishes with Chrome's hello.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
from detector_testing.streams import LOOPBACK
from support.lab_programs import free_port, running, running_nginx
from support.system import program as system_program

from detector.model import Endpoint, Engine, Hello, Outcome
from detector.probe import DirectDialer, probe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from detector_testing import Issued, PrivatePKI
    from detector_testing.pki import KeyKind

    from detector.model import Observation

    Stack = Callable[..., AbstractAsyncContextManager[int]]
    """Starts a server and gives its port; `asks` has it ask for a client's certificate."""

pytestmark = pytest.mark.lab

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
    port, stapling = free_port(), f"ssl_stapling on; ssl_stapling_file {files.response};" if staples else ""
    http = (
        f"access_log off; server {{ listen {LOOPBACK}:{port} ssl; ssl_certificate {files.chain};\n"
        f"ssl_certificate_key {files.key}; ssl_protocols TLSv1.{2 if old else 3}; {stapling} }}"
    )
    async with running_nginx(port, files.folder, http):
        yield port


async def probe_with(port: int, hello: Hello) -> Observation:
    """Probe a server on loopback."""
    return (await probe(Endpoint(host=HOST, address=(LOOPBACK, port)), dialer=DirectDialer(), hello=hello)).single


def common(observation: Observation) -> dict[str, object]:
    """What does not depend on the hello; suites, groups, signatures, randoms and times do."""
    same = ("outcome", "key_proved", "tls_version", "chain", "sct_list", "ocsp_response", "scts_carried")
    return {name: getattr(observation, name) for name in same}


def put(issued: Issued, files: Files) -> None:
    files.chain.write_bytes(issued.chain_pem)
    files.key.write_bytes(issued.key_pem)


@pytest.mark.parametrize("hello", [Hello.BROWSER, Hello.FIREFOX])
@pytest.mark.parametrize(
    ("stack", "kind"), [(stack, kind) for stack in (gnutls, nss, go) for kind in KINDS if kind != "ed25519"]
)
async def test_regular_handshakes(hello: Hello, stack: Stack, kind: KeyKind, tls_pki: PrivatePKI, files: Files) -> None:
    """One connection, no OpenSSL, and every fact as OpenSSL's hello shows it."""
    issued = tls_pki.issue([HOST], key=kind)
    put(issued, files)
    async with stack(files) as port:
        mine, alone = await probe_with(port, hello), await probe_with(port, Hello.WIDEST)
    assert (mine.engine, mine.attempts, mine.hello) == (Engine.NATIVE, 1, hello)
    assert (mine.outcome, mine.key_proved, mine.tls_version) == (Outcome.COMPLETE, True, "TLSv1.3")
    assert tuple(presented.der for presented in mine.chain) == issued.chain
    assert common(mine) == common(alone)


@pytest.mark.parametrize("hello", [Hello.BROWSER, Hello.FIREFOX])
@pytest.mark.parametrize(
    ("stack", "settings"),
    [
        (gnutls, {"asks": True}),
        (nss, {"asks": True}),
        (go, {"asks": True}),
        (gnutls, {"asks": True, "old": True}),
        (go, {"asks": True, "old": True}),
        (gnutls, {"priority": "NORMAL:-GROUP-ALL:+GROUP-SECP256R1"}),
        (gnutls, {"priority": "NORMAL:-GROUP-ALL:+GROUP-SECP384R1"}),
        (gnutls, {"priority": "NORMAL:-GROUP-ALL:+GROUP-SECP256R1", "old": True}),
        (nss, {"groups": "P384"}),
        (go, {"retries": True}),
        (gnutls, {"old": True}),
        (gnutls, {"priority": "NORMAL:-KX-ALL:+RSA", "old": True}),
        (gnutls, {"priority": "NORMAL:-KX-ALL:+RSA:-CIPHER-ALL:+AES-128-CBC", "old": True}),
        (gnutls, {"priority": "NORMAL:-CIPHER-ALL:+AES-256-CBC", "old": True}),
        (gnutls, {"priority": "NORMAL:-CIPHER-ALL:+CHACHA20-POLY1305", "old": True}),
    ],
    ids=[
        *(
            "GnuTLS asks",
            "NSS asks",
            "Go asks",
            "GnuTLS asks by 1.2",
            "Go asks by 1.2",
            "P-256",
            "P-384",
            "P-256 by 1.2",
        ),
        *("NSS, P-384", "Go compares hellos", "TLS 1.2", "RSA", "RSA and CBC", "CBC", "ChaCha20"),
    ],
)
async def test_whatever_they_want(
    hello: Hello, stack: Stack, settings: dict[str, Any], tls_pki: PrivatePKI, files: Files
) -> None:
    """A client's certificate, a HelloRetryRequest, an older version, any key exchange: finished with this hello."""
    put(tls_pki.issue([HOST], key="rsa"), files)
    async with stack(files, **settings) as port:
        mine = await probe_with(port, hello)
    assert (mine.engine, mine.attempts, mine.hello) == (Engine.NATIVE, 1, hello)
    assert (mine.outcome, mine.key_proved) == (Outcome.COMPLETE, True)


@pytest.mark.parametrize(
    ("kind", "priority"), [("ed25519", "NORMAL"), ("ec", "NORMAL:-GROUP-ALL:+GROUP-FFDHE2048")], ids=["key", "group"]
)
async def test_what_chrome_does_not_offer(kind: KeyKind, priority: str, tls_pki: PrivatePKI, files: Files) -> None:
    """It is refused; the widest hello sees the chain, and says what came first."""
    put(tls_pki.issue([HOST], key=kind), files)
    async with gnutls(files, priority=priority) as port:
        mine = await probe_with(port, Hello.BROWSER)
    assert (mine.engine, mine.hello, mine.key_proved) == (Engine.OPENSSL, Hello.WIDEST, True)
    assert {failed.hello for failed in mine.earlier} == {Hello.BROWSER}


@pytest.mark.parametrize("old", [False, True], ids=["TLS 1.3", "TLS 1.2"])
@pytest.mark.parametrize("staples", [False, True])
@pytest.mark.parametrize("stack", [openssl, nginx, gnutls, go])
async def test_what_they_send_with_the_leaf(
    stack: Stack,
    staples: bool,  # noqa: FBT001 - a parameter of a table of cases
    old: bool,  # noqa: FBT001 - a parameter of a table of cases
    tls_pki: PrivatePKI,
    files: Files,
) -> None:
    """The stapled response is the one that the server was given. Go's alone sends SCTs. One connection is enough."""
    issued = tls_pki.issue([HOST])
    put(issued, files)
    files.response.write_bytes(tls_pki.intermediate_ec.ocsp_response(issued.leaf))
    async with stack(files, staples=staples, old=old) as port:
        mine, alone = await probe_with(port, Hello.BROWSER), await probe_with(port, Hello.WIDEST)
    assert (mine.engine, mine.attempts) == (Engine.NATIVE, 1)
    assert (mine.outcome, mine.key_proved, mine.scts_carried) == (Outcome.COMPLETE, True, True)
    assert mine.ocsp_response == (files.response.read_bytes() if staples else None)
    of_go = (len(SCT) + 2).to_bytes(2, "big") + len(SCT).to_bytes(2, "big") + SCT
    assert mine.sct_list == (of_go if staples and stack is go else None)
    assert common(mine) == common(alone)
