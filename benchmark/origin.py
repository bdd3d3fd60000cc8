"""The server that contenders connect to: Debian's nginx with ECDSA P-256.

It runs in a scratch folder, and ends with `serving`. Chains are those of `detector_testing.PrivatePKI`: leaf,
intermediate, cross-signed root.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from typing import TYPE_CHECKING, Final, NamedTuple

from detector_testing import PrivatePKI

from .process import NotRunError, ended, pinned

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOST: Final = "exam.example.edu"
BACKLOG: Final = 4096
"""Connections that can wait to be accepted: Linux's default limit (net.core.somaxconn)."""
START_LIMIT: Final = 10.0
"""Seconds for the server to accept its first connection."""

CONFIGURATION: Final = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log warn; {user}
worker_rlimit_nofile 65536;
events {{ worker_connections 30000; }}
http {{
  access_log off; ssl_protocols TLSv1.3; ssl_session_tickets off; ssl_session_cache off; ssl_stapling off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen {one} ssl backlog={backlog}; ssl_certificate {folder}/{host}.pem; ssl_certificate_key {folder}/{host}.key;
    return 204;
  }}
  server {{
    listen {many} ssl backlog={backlog};
    ssl_certificate {folder}/$ssl_server_name.pem; ssl_certificate_key {folder}/$ssl_server_name.key; return 204;
  }}
  server {{ listen 127.0.0.1:{status}; stub_status; }}
}}
"""


class Origin(NamedTuple):
    """A running nginx. `port` presents one certificate, `many_port` one for each of `hosts`."""

    folder: Path
    port: int
    many_port: int
    status_port: int
    hosts: tuple[str, ...]
    pins: dict[str, str]
    version: str

    @property
    def roots(self) -> Path:
        """PEM of the roots."""
        return self.folder / "roots.pem"

    @property
    def logs(self) -> Path:
        """The list of the leaves' CT logs."""
        return self.folder / "ct_logs.json"

    def accepted(self) -> int:
        """Return how many connections were accepted so far, without the one for this question."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.status_port}/", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return int(lines[2].split()[0]) - 1


def free_ports(number: int) -> list[int]:
    """Return that many free ports."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextlib.contextmanager
def serving(folder: Path, *, hosts: int, core: int | None) -> Iterator[Origin]:
    """Run nginx, with `hosts` more certificates, until the block ends. Raises NotRunError."""
    nginx = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if nginx is None:
        raise NotRunError("nginx is not installed; on Debian: apt-get install nginx-light")
    folder.chmod(0o755)  # when this process is root, nginx's worker is another user
    pki = PrivatePKI.create()
    pki.write(folder)
    names = (HOST, *(f"host{number}.example{number}.edu" for number in range(hosts)))
    pins = {}
    for name in names:
        issued = pki.issue([name], cross_signed=True)
        (folder / f"{name}.pem").write_bytes(issued.chain_pem)
        (folder / f"{name}.key").write_bytes(issued.key_pem)
        pins[name] = issued.spki_sha256.hex()
    one, many, status = free_ports(3)
    settings = folder / "nginx.conf"
    user = "user root;" if folder.owner() == "root" else ""
    settings.write_text(
        CONFIGURATION.format(folder=folder, host=HOST, one=one, many=many, status=status, backlog=BACKLOG, user=user)
    )
    shown = subprocess.run([nginx, "-v"], capture_output=True, text=True, check=False)  # noqa: S603 - no shell, and the program was found on PATH by its fixed name
    command = [*pinned(core), nginx, "-c", str(settings), "-p", str(folder)]
    with ended(subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)):  # noqa: S603 - no shell, and the program was found on PATH by its fixed name
        origin = Origin(folder, one, many, status, names[1:], pins, shown.stderr.strip().partition("/")[2])
        _wait_for(status, folder)
        yield origin


def _wait_for(port: int, folder: Path) -> None:
    until = time.monotonic() + START_LIMIT
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError as error:
            if time.monotonic() > until:
                log = folder / "error.log"
                printed = log.read_text()[-300:] if log.exists() else ""
                raise NotRunError(f"nginx did not start: {printed}") from error
            time.sleep(0.02)
        else:
            return


def setup(origin: Origin, **more: object) -> str:
    """Return the settings for `clients` as JSON."""
    return json.dumps(
        {
            "host": HOST,
            "addresses": [["127.0.0.1", origin.port]],
            "many": ["127.0.0.1", origin.many_port],
            "hosts": origin.hosts,
            "pins": origin.pins,
            "roots": str(origin.roots),
            "logs": str(origin.logs),
            **more,
        }
    )
