"""Room: testing. The real mitmproxy between stock OpenSSL and an honest origin; and what happens without it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import types
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from detector_testing import MitmproxyError, PrivatePKI, mitmproxy_addon, run_mitmproxy, serve_origin
from detector_testing.mitmproxy import ENVIRONMENT, mitmdump_command
from loopback_client import EXAM, tunnel, visit

if TYPE_CHECKING:
    import pathlib


def issued_by(leaf: bytes, ca: bytes) -> bool:
    x509.load_der_x509_certificate(leaf).verify_directly_issued_by(x509.load_der_x509_certificate(ca))
    return True


@pytest.mark.lab
async def test_regular_mode_forges_for_a_name_that_does_not_resolve(tls_pki: PrivatePKI) -> None:
    """As a proxy, mitmproxy forges under its own CA and carries the page of the mapped origin; nothing else."""
    async with (
        serve_origin(tls_pki.issue([EXAM])) as origin,
        run_mitmproxy(upstream_hosts={(EXAM, 443): origin.address}) as mitm,
    ):
        seen = await visit(mitm.address, through=f"{EXAM}:443")
        stream, elsewhere = await tunnel(mitm.address, "unknown.example:443")
        await stream.close()
        assert x509.load_pem_x509_certificate(mitm.ca_pem) == x509.load_der_x509_certificate(mitm.ca_certificate)
    assert issued_by(seen.chain[0], mitm.ca_certificate)
    assert f"This is {EXAM}".encode() in seen.body
    assert elsewhere.startswith(b"HTTP/1.1 502 ")


@pytest.mark.lab
async def test_reverse_mode_forges_for_who_connects(tls_pki: PrivatePKI) -> None:
    """In front of one origin, mitmproxy forges the origin's name."""
    async with (
        serve_origin(tls_pki.issue([EXAM])) as origin,
        run_mitmproxy(f"reverse:https://127.0.0.1:{origin.port}") as mitm,
    ):
        seen = await visit(mitm.address)
    assert issued_by(seen.chain[0], mitm.ca_certificate)
    assert b"200" in seen.body


@pytest.mark.lab
async def test_the_upstream_chain_can_be_appended(tls_pki: PrivatePKI) -> None:
    """The genuine chain stands behind the forged leaf (CVE-2016-2402)."""
    issued = tls_pki.issue([EXAM])
    async with (
        serve_origin(issued) as origin,
        run_mitmproxy(append_upstream_chain=True, upstream_hosts={(EXAM, 443): origin.address}) as mitm,
    ):
        seen = await visit(mitm.address, through=f"{EXAM}:443")
    assert issued_by(seen.chain[0], mitm.ca_certificate)
    assert seen.chain[1:] == issued.chain


@pytest.mark.lab
async def test_a_mitmproxy_that_dies_says_why() -> None:
    """A wrong mode ends the process; its own words are in the error."""
    with pytest.raises(MitmproxyError, match=r"(?s)exit code.*no-such-mode"):
        async with run_mitmproxy("no-such-mode"):
            pass


async def test_without_mitmproxy_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    """Nothing on PATH and no uv module: an error with advice, never a skip."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(MitmproxyError, match="Install uv"):
        async with run_mitmproxy():
            pass


def read_number(path: pathlib.Path) -> int:
    return int(path.read_text())


def fake_command(directory: pathlib.Path, name: str, script: str) -> None:
    program = directory / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_a_mitmdump_on_the_path_is_preferred(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    """mitmdump itself first, uvx next, the uv module last."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: object())
    assert mitmdump_command()[1:4] == ("-m", "uv", "tool")
    fake_command(tmp_path, "uvx", "exit 1")
    assert mitmdump_command()[1:] == ("--from", "mitmproxy", "mitmdump")
    fake_command(tmp_path, "mitmdump", "exit 1")
    assert mitmdump_command() == (str(tmp_path / "mitmdump"),)


async def test_a_process_that_never_listens_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    """The wait is bounded, the error has the process's words, and the process does not survive it."""
    process_id = tmp_path / "process_id"
    fake_command(tmp_path, "mitmdump", f"echo $$ > {process_id}; echo 'not today'; exec /bin/sleep 60")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MitmproxyError, match=r"(?s)within 0\.5 seconds: not today"):
        async with run_mitmproxy(start_limit=0.5):
            pass
    with pytest.raises(ProcessLookupError):
        os.kill(read_number(process_id), 0)


def test_addon_and_runner_agree_on_the_variable() -> None:
    """The addon cannot import the runner, so that the name stands in both."""
    assert mitmproxy_addon.ENVIRONMENT == ENVIRONMENT


@pytest.mark.parametrize(
    ("asked_for", "connected_to"),
    [((EXAM, 443), ("127.0.0.1", 4443)), (("127.0.0.1", 1), ("127.0.0.1", 1)), (("elsewhere.example", 443), None)],
)
def test_the_addon_connects_to_nothing_unmapped(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: pathlib.Path,
    asked_for: tuple[str, int],
    connected_to: tuple[str, int] | None,
) -> None:
    """Mapped hosts go where they are mapped to, loopback stays, everything else is an error."""
    files = {name: str(tmp_path / name) for name in ("ready_file", "overheard_file")}
    settings = {**files, "upstream": [[EXAM, 443, "127.0.0.1", 4443]]}
    monkeypatch.setenv(ENVIRONMENT, json.dumps(settings))
    server = types.SimpleNamespace(address=asked_for, sni=None, error=None)
    addon = mitmproxy_addon.UpstreamHosts()
    addon.load(None)
    addon.server_connect(types.SimpleNamespace(server=server))
    assert (server.error is None) is (connected_to is not None)
    assert server.address == (connected_to or asked_for)


def test_the_addon_ends_with_the_process_that_started_it(tmp_path: pathlib.Path) -> None:
    """Once its standard input is at its end, so is the process, although it had more to do."""
    program = (
        "import runpy, sys, time; "
        f"addon = runpy.run_path({mitmproxy_addon.__file__!r})['addons'][0]; "
        "addon.load(None); addon.running(); time.sleep(60); sys.exit(1)"
    )
    files = {name: str(tmp_path / name) for name in ("ready_file", "overheard_file")}
    settings = json.dumps({**files, "upstream": []})
    ended = subprocess.run(  # noqa: S603 - no shell; runs this interpreter on code written here
        [sys.executable, "-c", program],
        env={**os.environ, ENVIRONMENT: settings},
        stdin=subprocess.DEVNULL,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 0
