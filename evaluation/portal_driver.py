"""A program for an environment of its own: asks captive-portal-detector about servers on loopback.

It imports nothing of this project, reads one JSON request per line ({host, port, pin, roots}) and answers with one JSON
line ({verdict}). The package runs unmodified; around it, its pinned check connects to 127.0.0.1 instead of port 443 of
the host, `certifi.where` returns the roots of the request, a server here answers its two control requests like the
real ones, and no other name resolves.
"""

from __future__ import annotations

import functools
import http.server
import importlib
import json
import socket
import sys
import threading
from typing import Any

import certifi

CONTROL = {"/generate_204": (204, b""), "/success.txt": (200, b"success\n")}


class Control(http.server.BaseHTTPRequestHandler):
    """The two control requests, answered as on a healthy network."""

    def do_GET(self) -> None:
        """Answer a control request."""
        status, body = CONTROL.get(self.path, (404, b""))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing: standard error is for failures."""


def main() -> None:
    """Answer requests until standard input ends."""
    probe: Any = importlib.import_module("capdet.network_probe").NetworkProbe  # only this environment has it
    world: Any = socket
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Control)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    primary, fallback = (f"http://127.0.0.1:{server.server_port}{path}" for path in CONTROL)
    # The package has no public option for its URLs; without this it could not be measured.
    expected = {primary: probe._hash(None, b""), fallback: probe._hash(None, b"success\n")}  # noqa: SLF001 - the package has no option for its URLs
    probe.PRIMARY, probe.FALLBACK, probe._expected = primary, fallback, expected  # noqa: SLF001 - the package has no option for its URLs
    probe.IPV6_PLAIN = "http://no-ipv6.invalid/"
    connect, resolve = socket.create_connection, socket.getaddrinfo
    where: dict[tuple[str, int], int] = {}

    def connect_on_loopback(address: tuple[str, int], *args: Any, **kwargs: Any) -> object:  # noqa: ANN401 - as socket's
        host, port = address
        return connect(("127.0.0.1", where[host, port]) if (host, port) in where else address, *args, **kwargs)

    def resolve_on_loopback(host: str, *args: Any, **kwargs: Any) -> object:  # noqa: ANN401 - as socket's
        if host != "127.0.0.1":
            raise socket.gaierror(socket.EAI_NONAME, "no such name here")
        return resolve(host, *args, **kwargs)

    world.create_connection, world.getaddrinfo = connect_on_loopback, resolve_on_loopback
    for line in sys.stdin:
        request = json.loads(line)
        where.clear()
        where[request["host"], 443] = request["port"]
        roots = request["roots"]
        certifi.where = functools.partial(str, roots)
        verdict = probe(pinned_hosts={request["host"]: request["pin"]}).network_health(force=True)
        print(json.dumps({"verdict": verdict}), flush=True)


if __name__ == "__main__":
    main()
