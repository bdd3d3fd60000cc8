"""Record the ClientHellos of the browsers installed here, and write the profiles that the package ships.

Room: scripts. Starts headless browsers, which talk to a listener on loopback only. For maintainers; not needed at run
time. Needs `chromium` and `firefox-esr` in PATH.

    python scripts/build_client_hellos.py

A browser opens a page whose images are on names that resolve to the listener. The listener reads the first ClientHello,
and the second one where it answers with a HelloRetryRequest, and closes the connection. What is the same on every
connection goes into the profile. What differs must be something that `detector.probe.tls.client_hello` draws, too:
after the file is written, what the writer makes of it is compared with what the browsers sent, field by field.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from detector.knowledge.client_hellos import EchGrease, HelloProfile, HelloProfiles
from detector.knowledge.data_set import DATA, PARTS, shipped
from detector.knowledge.part import HORIZONS
from detector.model import Hello, KnowledgeKind
from detector.probe.tls.client_hello import ClientHelloWriter
from detector.probe.tls.codepoints import HELLO_RETRY_REQUEST_RANDOM, TLS_1_3, ContentType, ExtensionType, HandshakeType
from detector.probe.tls.framing import RECORD_HEADER_BYTES
from detector.probe.tls.hello import GREASE, MESSAGE_HEADER_BYTES, parse_client_hello
from detector.probe.tls.reader import Reader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence

PROGRAMS: Final = {Hello.BROWSER: "chromium", Hello.FIREFOX: "firefox-esr"}
PATIENCE: Final = 60.0  # seconds for a browser to start and to make its connections, on a busy machine
NAMES: Final = tuple(f"h{number:02}.test" for number in range(80))
"""Hosts of one page: of four values drawn at random, one stays unseen in 80 connections once in 10 billion times."""
PAGE: Final = "".join(f'<img src="https://{name}:{{port}}/">' for name in NAMES)
X25519_MLKEM768: Final = 0x11EC
X25519: Final = 0x1D
SHARE_BYTES: Final = {X25519_MLKEM768: 1216, X25519: 32, 0x17: 65, 0x18: 97, 0x19: 133}
"""Bytes of a client's key share by group (RFC 8446 section 4.2.8.2, draft-ietf-tls-ecdhe-mlkem section 3.1.1)."""
COOKIE: Final = b"a cookie of the server's"

EXTENSIONS: Final = {
    0: "server_name",
    5: "status_request",
    10: "supported_groups",
    11: "ec_point_formats",
    13: "signature_algorithms",
    16: "application_layer_protocol_negotiation",
    18: "signed_certificate_timestamp",
    23: "extended_master_secret",
    27: "compress_certificate",
    28: "record_size_limit",
    34: "delegated_credential",
    35: "session_ticket",
    43: "supported_versions",
    44: "cookie",
    45: "psk_key_exchange_modes",
    51: "key_share",
    17613: "application_settings",
    51764: "trust_anchors",
    65037: "encrypted_client_hello",
    65281: "renegotiation_info",
}
"""Names of the extensions that browsers send (IANA; draft-vvv-tls-alps, draft-ietf-tls-trust-anchor-ids)."""
_LISTS: Final = {10: (2, 2), 13: (2, 2), 27: (1, 2), 34: (2, 2), 43: (1, 2)}
"""Size of the length field and of each number, of the extensions that are one list of numbers."""


class Connection(NamedTuple):
    """What a client sent on one connection: its first ClientHello, and the second if one was requested.

    `records` are the types and versions of the records that carried them, in hexadecimal.
    """

    first: bytes
    second: bytes | None
    records: str


class Retry(NamedTuple):
    """A HelloRetryRequest for this group, with this cookie; either may be None."""

    group: int | None = None
    cookie: bytes | None = None

    def answer(self, message: bytes) -> bytes:
        """Return the record that answers this ClientHello (RFC 8446 section 4.1.4)."""
        hello = parse_client_hello(message)
        extensions = _extension(ExtensionType.SUPPORTED_VERSIONS, TLS_1_3.to_bytes(2, "big"))
        if self.group is not None:
            extensions += _extension(ExtensionType.KEY_SHARE, self.group.to_bytes(2, "big"))
        if self.cookie is not None:
            extensions += _extension(ExtensionType.COOKIE, _vector(2, self.cookie))
        session_id, suite = _vector(1, hello.session_id), b"\x13\x01\x00"
        body = b"\x03\x03" + HELLO_RETRY_REQUEST_RANDOM + session_id + suite + _vector(2, extensions)
        return b"\x16\x03\x03" + _vector(2, bytes((HandshakeType.SERVER_HELLO,)) + _vector(3, body))


def chromium_command(folder: Path, page: Path, *flags: str) -> list[str]:
    """How to open a page in a headless Chromium with an empty profile, for which every name is this machine."""
    return [
        PROGRAMS[Hello.BROWSER],
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--remote-debugging-port=0",
        "--host-resolver-rules=MAP *.test 127.0.0.1",
        f"--user-data-dir={folder / 'profile'}",
        *flags,
        page.as_uri(),
    ]


def firefox_command(folder: Path, page: Path, *preferences: str) -> list[str]:
    """The same with Firefox. `preferences` are further lines of user.js."""
    profile = folder / "profile"
    profile.mkdir()
    names = ",".join(NAMES)
    off = (
        "app.normandy.enabled",
        "browser.aboutwelcome.enabled",
        "browser.shell.checkDefaultBrowser",
        "datareporting.policy.dataSubmissionEnabled",
        "extensions.update.enabled",
        "network.captive-portal-service.enabled",
        "network.connectivity-service.enabled",
        "toolkit.telemetry.enabled",
    )
    lines = [
        *(f'user_pref("{name}", false);' for name in off),
        f'user_pref("network.dns.localDomains", "{names}");',
        'user_pref("network.proxy.type", 0);',
        'user_pref("network.trr.mode", 5);',
        *preferences,
    ]
    (profile / "user.js").write_text("\n".join(lines), "utf-8")
    return [PROGRAMS[Hello.FIREFOX], "--headless", "--no-remote", "--profile", str(profile), page.as_uri()]


COMMANDS: Final[dict[Hello, Callable[..., list[str]]]] = {
    Hello.BROWSER: chromium_command,
    Hello.FIREFOX: firefox_command,
}


class Listener:
    """A server on loopback that reads what clients send first. `port` is where."""

    def __init__(self, retry: Retry | None) -> None:
        self.port = 0
        self._retry = retry
        self._connections: dict[str | None, Connection] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    async def received(self, count: int) -> list[Connection]:
        """Wait until that many hosts were asked for, and return what was sent to each. Raises TimeoutError.

        Only the first connection to each host counts: when it fails, Firefox tries again without certificate
        compression.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                while len(self._connections) < count:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError as error:
            found = len(self._connections)
            raise TimeoutError(f"ClientHellos for {found} of {count} hosts after {PATIENCE:.0f} seconds") from error
        return list(self._connections.values())

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read from one client in a task of its own."""
        self._tasks.add(asyncio.create_task(self._read(reader, writer)))

    async def close(self) -> None:
        """Wait for the connections, which end when the client does."""
        await asyncio.gather(*self._tasks)

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        records: list[str] = []
        second = None
        with contextlib.suppress(EOFError, ConnectionError):  # a browser also opens connections that it does not use
            first = await _read_client_hello(reader, records)
            if self._retry is not None:
                writer.write(self._retry.answer(first))
                second = await _read_client_hello(reader, records)
            name = parse_client_hello(first).server_name
            self._connections.setdefault(name, Connection(first, second, ", ".join(records)))
            self._changed.set()
        writer.close()


@contextlib.asynccontextmanager
async def listening(retry: Retry | None = None) -> AsyncIterator[Listener]:
    """Listen on a free port until the block ends, in which the clients have to end, too."""
    listener = Listener(retry)
    server = await asyncio.start_server(listener.accept, "127.0.0.1", 0)
    listener.port = server.sockets[0].getsockname()[1]
    async with server:
        yield listener
    await listener.close()


async def capture(
    hello: Hello, *settings: str, page: str = PAGE, count: int = len(NAMES), retry: Retry | None = None
) -> list[Connection]:
    """Let a browser open `page` and return what it sent to the first `count` hosts of it. Raises TimeoutError.

    `settings` are flags of Chromium or lines of user.js; `{port}` in the page becomes the listener's port.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        async with listening(retry) as listener:
            content = page.replace("{port}", str(listener.port))
            async with _running(hello, Path(folder), content, *settings):
                return await listener.received(count)


@contextlib.asynccontextmanager
async def _running(hello: Hello, folder: Path, page: str, *settings: str) -> AsyncIterator[None]:
    """Run a browser on a page until the block ends."""
    document = folder / "page.html"
    document.write_text(f"<!doctype html>{page}", "utf-8")
    process = await asyncio.create_subprocess_exec(
        *COMMANDS[hello](folder, document, *settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(folder)},
        start_new_session=True,
    )
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # a browser has many processes
        await process.wait()


async def _read_client_hello(reader: asyncio.StreamReader, records: list[str]) -> bytes:
    """Read one handshake message, and skip the ChangeCipherSpec before a second one (RFC 8446 appendix D.4).

    The type and version of each record is added to `records`.
    """
    message = b""
    while len(message) < MESSAGE_HEADER_BYTES or len(message) - MESSAGE_HEADER_BYTES < int.from_bytes(message[1:4]):
        header = await reader.readexactly(RECORD_HEADER_BYTES)
        content = await reader.readexactly(int.from_bytes(header[3:]))
        records.append(header[:3].hex())
        if header[0] == ContentType.HANDSHAKE:
            message += content
        elif header[0] != ContentType.CHANGE_CIPHER_SPEC:
            raise ConnectionAbortedError("the client sent no ClientHello")
    return message


def decode(message: bytes) -> dict[str, str]:
    """Return the fields of a ClientHello by name, as text. Of random content only the size is given."""
    hello = parse_client_hello(message)
    kinds = [kind for kind, _ in hello.extensions]
    fields = {
        "legacy_version": f"{hello.legacy_version:04x}",
        "session_id": f"{len(hello.session_id)} bytes",
        "cipher_suites": _text(hello.cipher_suites),
        "compression_methods": _text(hello.compression_methods),
        "extensions": " ".join(sorted(map(_name, kinds))),
        "order of extensions": " ".join(map(_name, kinds)),
        "reserved extensions": " ".join(
            f"{place}:{body.hex()}" for place, (kind, body) in enumerate(hello.extensions) if kind in GREASE
        ),
        "reserved extensions differ": str(len(kinds) == len(set(kinds))),
    }
    fields |= {_name(kind): _decode(kind, body) for kind, body in hello.extensions if kind not in GREASE}
    fields["protocols"] = " ".join(hello.alpn)
    shares = _shares(dict(hello.extensions)[ExtensionType.KEY_SHARE])
    fields["reserved group is the share's"] = str(not GREASE & (shares.keys() ^ set(hello.groups)))
    if {X25519, X25519_MLKEM768} <= shares.keys():
        fields["one X25519 key for both shares"] = str(shares[X25519_MLKEM768].endswith(shares[X25519]))
    return fields


def describe(messages: Iterable[bytes]) -> dict[str, set[str]]:
    """Return the values of every field over many connections; of an order that varies, only that it does."""
    found: dict[str, set[str]] = {}
    for message in messages:
        for name, value in decode(message).items():
            found.setdefault(name, set()).add(value)
    if len(found.get("order of extensions", ())) > 1:
        found["order of extensions"] = {"drawn on each connection"}
    return found


def changes(first_hello: bytes, second_hello: bytes) -> dict[str, str]:
    """Return what a second ClientHello changes in the first, by field, with the new values."""
    first, second = _parts(first_hello), _parts(second_hello)
    decoded = decode(second_hello)
    names = first.keys() | second.keys()
    return {name: decoded.get(name, "other") for name in sorted(names) if first.get(name) != second.get(name)}


def differences(theirs: Mapping[str, object], ours: Mapping[str, object]) -> list[str]:
    """Return one line for every field that is not the same, with both values."""
    names = sorted(theirs.keys() | ours.keys())
    return [
        f"{name}: {theirs.get(name, 'absent')} from the browser, {ours.get(name, 'absent')} from the profile"
        for name in names
        if theirs.get(name) != ours.get(name)
    ]


def written(
    hello: Hello,
    name: bytes | None = b"h00.test",
    *,
    retry: Retry | None = None,
    alpn: Sequence[bytes] | None = None,
    small: bool = False,
) -> list[Connection]:
    """Return what the writer sends on as many connections. Its key shares have the right size and are no keys."""
    made = []
    for _ in NAMES:
        writer = ClientHelloWriter(hello, name, alpn=alpn, small=small)
        shares = {group: os.urandom(SHARE_BYTES[group]) for group in writer.shared_groups}
        if writer.common_x25519 and X25519_MLKEM768 in shares:
            shares[X25519_MLKEM768] = shares[X25519_MLKEM768][: -len(shares[X25519])] + shares[X25519]
        first, second = writer.first(shares), None
        if retry is not None:
            share = None if retry.group is None else os.urandom(SHARE_BYTES[retry.group])
            second = writer.second(retry.group, share, retry.cookie)
        made.append(Connection(first, second, ""))
    return made


def profile(hello: Hello, client: str, day: dt.date, connections: Sequence[Connection]) -> HelloProfile:
    """Derive the profile of a browser from connections with both ClientHellos, the second with a cookie."""
    hellos = [parse_client_hello(connection.first) for connection in connections]
    seconds = [connection.second for connection in connections if connection.second]
    orders = {tuple(kind for kind, _ in parse_client_hello(second).extensions) for second in seconds}
    some = hellos[0]
    bodies = dict(some.extensions)
    extensions = _plain(min(orders))
    shares = [_shares(dict(hello.extensions)[ExtensionType.KEY_SHARE]) for hello in hellos]
    ech = [_ech(dict(hello.extensions)[ExtensionType.ENCRYPTED_CLIENT_HELLO]) for hello in hellos]
    grease = tuple(kind for kind in _LISTS if kind in bodies and GREASE & set(_list(kind, bodies[kind])))
    return HelloProfile(
        hello=hello,
        client=client,
        recorded=day,
        grease=grease,
        shuffled=len(orders) > 1,
        cipher_suites=_plain(some.cipher_suites),
        extensions=extensions if len(orders) == 1 else tuple(sorted(extensions)),
        groups=_plain(some.groups),
        key_shares=_plain(shares[0]),
        common_x25519=all(keys[X25519_MLKEM768].endswith(keys[X25519]) for keys in shares),
        signature_schemes=_plain(_list(13, bodies[13])),
        versions=_plain(some.versions),
        alpn=some.alpn,
        certificate_compression=_plain(_list(27, bodies[27])),
        ech=EchGrease(
            aeads=tuple(sorted({found.aead for found in ech})),
            payload_bytes=tuple(sorted({found.payload_bytes for found in ech})),
            is_key=all(found.is_key for found in ech),
        ),
        bodies={kind: body.hex() for kind, body in sorted(bodies.items()) if kind not in GREASE | _OWN},
    )


class _Ech(NamedTuple):
    """The fields of an outer encrypted_client_hello (RFC 9849 section 5) that can be compared."""

    head: str
    aead: int
    key_bytes: int
    is_key: bool
    payload_bytes: int

    def __str__(self) -> str:
        key = "X25519 key" if self.is_key else "no X25519 key"
        return f"{self.head}, AEAD {self.aead}, {key} of {self.key_bytes} bytes, payload of {self.payload_bytes}"


def _ech(body: bytes) -> _Ech:
    reader = Reader(body, "encrypted_client_hello")
    head, aead, _, key, payload = reader.take(3), reader.number(2), reader.take(1), reader.vector(2), reader.vector(2)
    reader.end()
    u = int.from_bytes(key, "little")
    # A public key is a coordinate of the curve: u^3 + 486662 u^2 + u is a square (RFC 7748 section 4.1).
    on_curve = u < _P and pow(u**3 + 486662 * u**2 + u, (_P - 1) // 2, _P) == 1
    return _Ech(head.hex(), aead, len(key), on_curve, len(payload))


_P: Final = 2**255 - 19  # the field of X25519 (RFC 7748 section 4.1)
_OWN: Final = frozenset({0, 10, 13, 16, 27, 43, 51, 65037})  # extensions that a profile has other fields for


def _decode(kind: int, body: bytes) -> str:
    """Return the content of one extension, as text."""
    if kind in _LISTS:
        return _text(_list(kind, body))
    match kind:
        case ExtensionType.SERVER_NAME:
            return "a name"
        case ExtensionType.KEY_SHARE:
            return " ".join(
                f"GREASE:{key.hex()}" if group in GREASE else f"{group:04x}:{len(key)}"
                for group, key in _shares(body).items()
            )
        case ExtensionType.ENCRYPTED_CLIENT_HELLO:
            return str(_ech(body))
        case _:
            return body.hex()


def _parts(message: bytes) -> dict[str, object]:
    """Return every part of a ClientHello, byte for byte; the order without the cookie."""
    hello = parse_client_hello(message)
    kinds = [kind for kind, _ in hello.extensions if kind != ExtensionType.COOKIE]
    return {
        "legacy_version": hello.legacy_version,
        "random": hello.random,
        "session_id": hello.session_id,
        "cipher_suites": hello.cipher_suites,
        "compression_methods": hello.compression_methods,
        "order of extensions": kinds,
    } | {_name(kind) if kind not in GREASE else f"reserved {kind}": body for kind, body in hello.extensions}


def _shares(body: bytes) -> dict[int, bytes]:
    reader = Reader(body, "key_share")
    shares = Reader(reader.vector(2), "key_share")
    reader.end()
    found = {}
    while shares.left:
        group = shares.number(2)
        found[group] = shares.vector(2)
    return found


def _list(kind: int, body: bytes) -> tuple[int, ...]:
    length_size, size = _LISTS[kind]
    content = Reader(body, _name(kind)).vector(length_size)
    return struct.unpack(f">{len(content) // size}H", content)


def _plain(numbers: Iterable[int]) -> tuple[int, ...]:
    return tuple(number for number in numbers if number not in GREASE)


def _text(numbers: Iterable[int]) -> str:
    return " ".join("GREASE" if number in GREASE else f"{number:04x}" for number in numbers)


def _name(kind: int) -> str:
    return "GREASE" if kind in GREASE else EXTENSIONS.get(kind, str(kind))


def _vector(length_size: int, content: bytes) -> bytes:
    return len(content).to_bytes(length_size, "big") + content


def _extension(kind: int, body: bytes) -> bytes:
    return kind.to_bytes(2, "big") + _vector(2, body)


def version(program: str) -> str:
    """Return name and version of an installed browser."""
    command = [program, "--version", "--no-sandbox"]
    said = subprocess.run(command, capture_output=True, check=True, text=True).stdout  # noqa: S603 - of `PROGRAMS`
    found = re.search(r"(Chromium|Firefox) [\w.]+", said)
    if found is None:
        sys.exit(f"{program} --version says {said!r}: expected the name and version of Chromium or Firefox")
    return found[0]


async def record(hello: Hello, day: dt.date) -> tuple[HelloProfile, list[Connection]]:
    """Return the profile of an installed browser, from connections of two of its processes."""
    connections = [connection for _ in range(2) for connection in await capture(hello, retry=Retry(cookie=COOKIE))]
    return profile(hello, version(PROGRAMS[hello]), day, connections), connections


def main() -> None:
    """Write the file, and exit with an error when the writer does not make what the browsers send."""
    if missing := [name for name in PROGRAMS.values() if shutil.which(name) is None]:
        sys.exit(f"{' and '.join(missing)} not in PATH: install Debian's packages of these names")
    day = dt.datetime.now(dt.UTC).date()
    recorded = {hello: asyncio.run(record(hello, day)) for hello in COMMANDS}
    kind = KnowledgeKind.CLIENT_HELLOS
    file = HelloProfiles(
        schema=PARTS[kind].schema,
        version=shipped().client_hellos.version + 1,
        date=day,
        horizon=day + HORIZONS[kind],
        profiles=tuple(found for found, _ in recorded.values()),
    )
    text = msgspec.json.format(msgspec.json.encode(file), indent=1).decode()
    one_line = re.sub(r"\[([\d,\s]+)\]", lambda numbers: f"[{' '.join(numbers[1].split())}]", text)
    (DATA / PARTS[kind].name).write_text(one_line + "\n", "utf-8")
    moved = [
        f"{found.client}: {line}"
        for hello, (found, connections) in recorded.items()
        for line in differences(describe(c.first for c in connections), describe(c.first for c in written(hello)))
    ]
    print(*(f"{found.client} of {found.recorded}" for found, _ in recorded.values()), *moved, sep="\n")
    sys.exit(bool(moved))


if __name__ == "__main__":
    main()
