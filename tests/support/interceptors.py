"""What the tests of this room share: honest origins in the lab, SSLsplit, and the detector as a command."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization
from detector_testing import LabError, PrivatePKI, serve_files, serve_origin
from support.system import program

from detector.model import Category, Endpoint, Report
from detector.pins import PinSet
from detector.pins.write import dump
from detector.trust.roots import from_der

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from detector_testing import CA, Finished, Issued, Lab, Namespace, Origin

EXAM, LMS, SEARCH, BANK = "exam.example.edu", "lms.example.org", "search.example.com", "bank.example.net"
HOSTS = {EXAM: Category.EXAM, LMS: Category.LMS, SEARCH: Category.SEARCH, BANK: Category.BANK}
PORT = 8443
"""Where interceptors listen on the box; any free port would do, and all are free."""
SSLSPLIT_LISTENS = b"Starting main event loop"
"""What SSLsplit says in debug mode once both its sockets are open."""


class Campus:
    """Four honest hosts behind the lab's origin, pinned, with their roots; and who checks them from the client."""

    def __init__(self, lab: Lab, pki: PrivatePKI, origin: Origin, issued: dict[str, Issued], directory: Path) -> None:
        self.lab = lab
        self.pki = pki
        self.origin = origin
        self.issued = issued
        self._pins = directory / "pins.toml"
        stated = tuple(sorted(from_der([pki.root_a.certificate, pki.root_b.certificate], name="campus").labels))
        endpoints = [
            Endpoint(host=host, category=category, pins=(issued[host].spki_sha256,), roots=stated, quic=True)
            for host, category in HOSTS.items()
        ]
        self._pins.write_text(dump(PinSet(name="campus", endpoints=tuple(endpoints))), encoding="utf-8")
        self._trust = pki.write(directory)

    async def check(
        self, *arguments: str, family: int | None = 4, hosts: tuple[str, ...] = tuple(HOSTS), pinned: bool = True
    ) -> Report:
        """The report of `detector check`, a process of its own in the client's namespace.

        It goes over one IP version; with None to the addresses of `lab.name_hosts`.
        """
        resolve = []
        if family is not None:
            address = self.lab.origin.address(family)
            bare = f"[{address}]" if ":" in address else address
            resolve = [word for host in hosts for word in ("--connect-to", f"{host}:443:{bare}:443")]
        trust = ("--roots", str(self._trust.roots), "--ct-logs", str(self._trust.ct_logs), "--offline")
        pins = ("--pins", str(self._pins)) if pinned else ()
        settings = ("--deadline", "20", "--proxy", "none", "--format", "json")
        done = await self.detector("check", *hosts, *resolve, *trust, *pins, *settings, *arguments)
        assert done.code in {0, 1, 3}, done
        return Report.from_json(done.output)

    async def detector(self, *arguments: str) -> Finished:
        """Any `detector` command in the client's namespace, without any of root's capabilities."""
        bare = ("setpriv", "--bounding-set", "-all", "--inh-caps", "-all")
        return await self.lab.client.run(*bare, sys.executable, "-m", "detector", *arguments)


@contextlib.asynccontextmanager
async def open_campus(lab: Lab, pki: PrivatePKI, directory: Path) -> AsyncIterator[Campus]:
    """Serve the four hosts on the lab's origin, HTTPS on 443 and HTTP on 80, and write down what the client expects."""
    issued = {host: pki.issue([host]) for host in HOSTS}
    https, http = serve_origin(issued, host="", port=443), serve_files({}, host="", port=80)
    async with lab.origin.inside(https) as origin, lab.origin.inside(http):
        yield Campus(lab, pki, origin, issued, directory)


@contextlib.asynccontextmanager
async def run_sslsplit(ca: CA, box: Namespace, directory: Path) -> AsyncIterator[None]:
    """Run the real SSLsplit (a program of the system) on the box until the block ends, forging under `ca`.

    It finds out from the packet filter where a connection was going. Enter it `inside` the box.
    """
    key_file, certificate_file = directory / "sslsplit.key", directory / "sslsplit.pem"
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key_file.write_bytes(ca.key.private_bytes(*form))
    certificate_file.write_bytes(ca.pem)
    # One socket an IP version: an IPv6 socket that takes both cannot be asked where IPv4 was going.
    listens = ("ssl", box.ipv4, str(PORT), "ssl", box.ipv6, str(PORT))
    process = await asyncio.create_subprocess_exec(
        *(program("sslsplit"), "-D", "-k", str(key_file), "-c", str(certificate_file), *listens),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    said = b""
    while SSLSPLIT_LISTENS not in said:
        line = await process.stderr.readline()
        if not line:
            raise LabError(f"SSLsplit ended before it listened: {said.decode(errors='replace')}", advice="")
        said += line
    reading = asyncio.ensure_future(process.stderr.read())
    try:
        yield
    finally:
        process.terminate()
        await reading
        await process.wait()
