"""An addon for mitmproxy: maps hosts to addresses, records requests, and reports that mitmproxy listens.

Room: testing, but it runs as a script in mitmproxy's own Python: it imports nothing from this package, and works with
every mitmproxy that has these hooks (7 and later). The environment variable below has JSON:
`{"ready_file": path, "overheard_file": path, "upstream": [[host, port, address, port], ...]}`.
"""

from __future__ import annotations

import json
import os
import pathlib
import sys
import threading
from typing import Any

ENVIRONMENT = "DETECTOR_TESTING_MITMPROXY"


class UpstreamHosts:
    """Maps (host, port) of outgoing connections; refuses all others, so that nothing leaves loopback."""

    def load(self, _loader: object) -> None:
        """Read the options: called when mitmproxy loads the addon."""
        options: dict[str, Any] = json.loads(os.environ[ENVIRONMENT])
        self._ready_file = pathlib.Path(options["ready_file"])
        self._overheard = pathlib.Path(options["overheard_file"])
        self._upstream = {(host, port): (address, at) for host, port, address, at in options["upstream"]}

    def running(self) -> None:
        """Report that mitmproxy runs: called when its servers listen."""
        threading.Thread(target=_end_with_the_test, daemon=True).start()
        self._overheard.touch()
        self._ready_file.touch()

    def server_connect(self, data: Any) -> None:  # noqa: ANN401 - mitmproxy's ServerConnectionHookData, not importable here
        """Map one outgoing connection before it is made."""
        server = data.server
        host, port = server.address[0], server.address[1]
        if (host, port) in self._upstream:
            server.sni = server.sni or host
            server.address = self._upstream[host, port]
        elif not host.startswith("127.") and host not in {"::1", "localhost"}:
            server.error = f"{host}:{port} is not among the upstream hosts of this test"

    def request(self, flow: Any) -> None:  # noqa: ANN401 - mitmproxy's HTTPFlow
        """Record a decrypted request: called with each complete request, before it is forwarded."""
        request = flow.request
        with self._overheard.open("ab") as overheard:
            overheard.write(f"{request.method} {request.url}\n".encode())
            overheard.writelines(name + b": " + value + b"\n" for name, value in request.headers.fields)
            overheard.write(b"\n" + request.get_content(strict=False) + b"\n")


def _end_with_the_test() -> None:
    """End this process when its parent closes our standard input or dies."""
    sys.stdin.buffer.read()
    os._exit(0)


addons = [UpstreamHosts()]
