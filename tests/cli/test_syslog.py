"""`check --syslog` against collectors: over UDP, TCP and TLS on loopback, and a real rsyslogd."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Final, Self

import click
import pytest
from support.command import run
from support.results import stating
from support.system import program

from detector.cli.syslog import Collector, parse
from detector.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from detector_testing import PrivatePKI

EVENTS: Final = ["<109>1 - - a - - - first", "<110>1 - - a - - - zweite: ä"]


class Receiver:
    """A collector on loopback that keeps the bytes of one connection, or of the datagrams that arrive."""

    def __init__(self, transport: str, context: ssl.SSLContext | None = None) -> None:
        self._socket = socket.socket(type=socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM)
        self._socket.bind(("127.0.0.1", 0))
        self._context = context
        self.collector = Collector(transport, "127.0.0.1", self._socket.getsockname()[1])
        self.datagrams: list[bytes] = []
        self.received = b""
        self._thread = threading.Thread(target=self._datagrams if transport == "udp" else self._stream)
        if transport != "udp":
            self._socket.listen()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._socket.close()

    def _datagrams(self) -> None:
        while len(self.datagrams) < len(EVENTS):
            self.datagrams.append(self._socket.recv(65535))

    def _stream(self) -> None:
        plain, _ = self._socket.accept()
        with contextlib.closing(plain):
            try:
                connection = self._context.wrap_socket(plain, server_side=True) if self._context else plain
                while part := connection.recv(65536):
                    self.received += part
            except OSError:
                return
            connection.close()


def framed(events: list[str]) -> bytes:
    encoded = [event.encode() for event in events]
    return b"".join(b"%d %s" % (len(event), event) for event in encoded)


def test_udp() -> None:
    """Each event is one datagram."""
    with Receiver("udp") as receiver:
        receiver.collector.send(EVENTS, seconds=5)
    assert receiver.datagrams == [event.encode() for event in EVENTS]


def test_tcp() -> None:
    """Each event is preceded by its length in bytes."""
    with Receiver("tcp") as receiver:
        receiver.collector.send(EVENTS, seconds=5)
    assert receiver.received == framed(EVENTS)


@pytest.mark.parametrize("trusted", [True, False])
def test_tls(trusted: bool, pki: PrivatePKI, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:  # noqa: FBT001 - a parameter of a table of cases
    """Over TLS the same, to a collector whose certificate this machine trusts, and nothing to any other."""
    ca = pki.private_ca("Collector CA")
    (tmp_path / "roots.pem").write_bytes((ca if trusted else pki.private_ca("Another CA")).pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "roots.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue(["127.0.0.1"]).configure_cert(context)
    with Receiver("tls", context) as receiver:
        if trusted:
            receiver.collector.send(EVENTS, seconds=5)
        else:
            with pytest.raises(OutputError, match="could not be sent"):
                receiver.collector.send(EVENTS, seconds=5)
    assert receiver.received == (framed(EVENTS) if trusted else b"")


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("udp://log.example.org", "log.example.org", 514),
        ("tcp://[2001:db8::1]:99", "2001:db8::1", 99),
        ("tls://log.example.org/", "log.example.org", 6514),
    ],
)
def test_addresses(url: str, host: str, port: int) -> None:
    """Host and port of a collector, by default the port of its transport."""
    assert parse(url) == (url.partition(":")[0], host, port)


@pytest.mark.parametrize(
    "url", ["log.example.org", "http://a", "udp://", "tcp://a:0", "tcp://a:x", "tls://u:p@a", "tcp://[a"]
)
def test_refused_addresses(url: str) -> None:
    """Anything else is refused with what to write."""
    with pytest.raises(click.BadParameter, match="write udp://"):
        parse(url)


def test_nobody_there(tmp_path: Path, pki: PrivatePKI) -> None:
    """A collector that is not there costs a warning: the verdict and its exit code come all the same."""
    written = pki.write(tmp_path)
    trust = ("--roots", str(written.roots), "--ct-logs", str(written.ct_logs))
    target = ("--connect-to", "exam.example.edu:443:127.0.0.1:1", "--proxy", "none", "--offline")
    done = run("check", "exam.example.edu", *trust, *target, "--syslog", "tcp://127.0.0.1:1", cwd=tmp_path)
    assert done.returncode == 3
    assert done.stdout.startswith("INCONCLUSIVE")
    assert "Warning: --syslog tcp://127.0.0.1:1: the events could not be sent" in done.stderr


@pytest.fixture
def rsyslog(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A real rsyslogd that takes TCP on loopback, and the file that it writes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log, configuration = tmp_path / "received.log", tmp_path / "rsyslog.conf"
    configuration.write_text(
        'module(load="imptcp")\n'
        f'input(type="imptcp" address="127.0.0.1" port="{port}")\n'
        'template(name="whole" type="string" string="%syslogseverity-text%|%app-name%|%msgid%|%msg%\\n")\n'
        f'action(type="omfile" file="{log}" template="whole" sync="on")\n'
    )
    command = [program("rsyslogd"), "-n", "-iNONE", "-f", str(configuration)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603 - no shell; program and options are chosen here
    try:
        while process.poll() is None:
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=5):
                break
            time.sleep(0.02)
        yield port, log
    finally:
        process.terminate()
        process.wait()


@pytest.mark.lab
def test_rsyslog(rsyslog: tuple[int, Path], tmp_path: Path, pki: PrivatePKI) -> None:
    """rsyslogd takes the event of a check, with its severity, program and rule, and the whole of its content."""
    port, log = rsyslog
    written = pki.write(tmp_path)
    trust = ("--roots", str(written.roots), "--ct-logs", str(written.ct_logs), *stating(tmp_path, "exam.example.edu"))
    target = ("--connect-to", "exam.example.edu:443:127.0.0.1:1", "--proxy", "none", "--offline")
    run("check", "exam.example.edu", *trust, *target, "--syslog", f"tcp://127.0.0.1:{port}", cwd=tmp_path)
    for _ in range(500):
        if log.exists() and log.stat().st_size:
            break
        time.sleep(0.02)
    severity, program_name, rule, content = log.read_text().rstrip("\n").split("|", 3)
    assert (severity, program_name, rule) == ("notice", "tls-middleware-detector", "no-certificate")
    assert content.lstrip().startswith("CEF:0|tls-middleware-detector|detector|")
    assert "dhost=exam.example.edu" in content
