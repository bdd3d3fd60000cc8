"""Sends events to a syslog collector: over UDP, TCP or TLS.

Room: cli. Opens one connection to the collector that the user named, and waits for it no longer than the seconds given.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

import click

from detector.errors import OutputError
from detector.model.files import reason_of

if TYPE_CHECKING:
    from collections.abc import Iterable

PORTS: Final = {"udp": 514, "tcp": 601, "tls": 6514}
"""Default ports (RFC 5426 section 3.3, RFC 3195 section 9.2, RFC 5425 section 4.1)."""


class Collector(NamedTuple):
    """Where events go: `udp`, `tcp` or `tls`, a host without brackets, and a port."""

    transport: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.transport}://{host}:{self.port}"

    def send(self, events: Iterable[str], *, seconds: float) -> None:
        """Send each event, a line of text, as one message; each step may take `seconds`.

        A datagram holds one (RFC 5426); over TCP and TLS each is preceded by its length in bytes (RFC 6587 section
        3.4.1, RFC 5425 section 4.3). The collector's certificate must be right for its host by the roots of this
        machine. Raises `OutputError`.
        """
        messages = [event.encode("utf-8", "replace") for event in events]
        try:
            with contextlib.closing(_connect(self, seconds)) as connection:
                for message in messages:
                    connection.sendall(message if self.transport == "udp" else b"%d %s" % (len(message), message))
                if isinstance(connection, ssl.SSLSocket):
                    with contextlib.suppress(OSError):  # the collector need not answer, and may close at once
                        connection.unwrap()  # says that nothing was cut off (RFC 5425 section 4.4)
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that IDNA cannot encode
            raise OutputError(
                f"--syslog {self}: the events could not be sent ({reason_of(error)}).",
                advice="Check the collector's address, transport and certificate.",
            ) from error


def parse(url: str) -> Collector:
    """A collector from `udp://HOST[:PORT]`, `tcp://…` or `tls://…`. Raises click.BadParameter, with what to write."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
        parts = urlsplit("")
    if parts.scheme not in PORTS or not host or port == 0 or parts.path.strip("/") or "@" in parts.netloc:
        raise click.BadParameter("write udp://HOST:PORT, tcp://HOST:PORT or tls://HOST:PORT.")
    return Collector(parts.scheme, host, port or PORTS[parts.scheme])


def _connect(to: Collector, seconds: float) -> socket.socket:
    if to.transport == "udp":
        family, kind, protocol, _, address = socket.getaddrinfo(to.host, to.port, type=socket.SOCK_DGRAM)[0]
        connection = socket.socket(family, kind, protocol)
        connection.settimeout(seconds)
        connection.connect(address)
        return connection
    connection = socket.create_connection((to.host, to.port), timeout=seconds)
    if to.transport == "tcp":
        return connection
    try:
        return ssl.create_default_context().wrap_socket(connection, server_hostname=to.host)
    except (OSError, ValueError):
        connection.close()
        raise
