"""A decrypting proxy that only the machine's settings name: real mitmproxy, behind settings as systems keep them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from detector_testing import run_mitmproxy, serve_origin, serve_proxy
from support.exam_world import ENVIRONMENT
from support.system import program

import detector
from detector import Category, Endpoint
from detector.exam import Action, Policy
from detector.model import Route
from detector.probe.routes.system import SystemProxies, from_macos, from_windows
from detector.session import machine_proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from detector_testing import PrivatePKI

    Settings = Callable[..., dict[str, Any]]

EXAM = "exam.example.edu"
pytestmark = pytest.mark.lab

MACOS = """<dictionary> {{
  ExceptionsList : <array> {{
    0 : *.local
    1 : 169.254/16
  }}
  FTPPassive : 1
  HTTPEnable : 1
  HTTPPort : {port}
  HTTPProxy : 127.0.0.1
  HTTPSEnable : 1
  HTTPSPort : {port}
  HTTPSProxy : 127.0.0.1
  ProxyAutoConfigEnable : 0
}}
"""
"""What `scutil --proxy` prints on a managed Mac."""

DCONF = """[system/proxy]
mode='manual'

[system/proxy/https]
host='127.0.0.1'
port={port}
"""
"""A dconf key file, as administrators of GNOME machines write it."""


def on_windows(port: int) -> SystemProxies:
    """A proxy set by group policy, in the registry."""
    return from_windows({"ProxyEnable": 1, "ProxyServer": f"127.0.0.1:{port}", "ProxyOverride": "<local>"})


def on_macos(port: int) -> SystemProxies:
    """A proxy set by a configuration profile."""
    return from_macos(MACOS.format(port=port))


@contextlib.asynccontextmanager
async def proxies(pki: PrivatePKI) -> AsyncIterator[dict[Action, int]]:
    """The ports of a proxy that relays and of one that decrypts, by what a gate should do behind each."""
    async with serve_origin(pki.issue([EXAM])) as origin:
        upstream = {(EXAM, 443): origin.address}
        async with serve_proxy(upstream=upstream) as honest, run_mitmproxy(upstream_hosts=upstream) as mitm:
            yield {Action.ALLOW: honest.port, Action.BLOCK: mitm.port}


@pytest.mark.parametrize("read", [on_windows, on_macos])
async def test_gate_takes_the_route_of_the_machine(
    read: Callable[[int], SystemProxies], pki: PrivatePKI, settings_of: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default the gate goes where browsers go: blocked behind mitmproxy, allowed behind a proxy that relays."""
    exam = Endpoint(host=EXAM, category=Category.EXAM)
    for name in [name for name in os.environ if "proxy" in name.lower()]:
        monkeypatch.delenv(name)
    async with proxies(pki) as ports:
        for action, port in ports.items():
            monkeypatch.setattr(machine_proxy, "read_system_proxies", lambda port=port: read(port))
            settings = settings_of(exam)
            del settings["proxy"]
            decision = await detector.exam.gate(policy=Policy(deadline=20.0), **settings)
            assert decision.action is action
            seen = decision.report.results[0]
            assert {one.route for one in (seen.observation, *seen.other_observations)} == {Route.HTTP_CONNECT}


async def test_command_takes_the_route_of_gnome(pki: PrivatePKI, tmp_path: Path) -> None:
    """The same for the command, on a machine whose real dconf database names the proxy."""
    keys, database = tmp_path / "keys", tmp_path / "config" / "dconf" / "user"
    keys.mkdir()
    database.parent.mkdir(parents=True)
    written = pki.write(tmp_path)
    (tmp_path / "pins.toml").write_text(f'schema = 1\n[[endpoint]]\nhost = "{EXAM}"\ncategory = "exam"\n', "utf-8")
    (tmp_path / "policy.toml").write_text('schema = 1\ndeadline = 20\npins = ["pins.toml"]\n', "utf-8")
    path = f"{os.path.dirname(program('gsettings'))}{os.pathsep}{os.environ['PATH']}"  # noqa: PTH120 - a PATH is text
    environment = {**ENVIRONMENT, "XDG_CONFIG_HOME": str(tmp_path / "config"), "PATH": path}
    options = ("--roots", str(written.roots), "--ct-logs", str(written.ct_logs), "--offline")
    async with proxies(pki) as ports:
        for action, port in ports.items():
            (keys / "proxy").write_text(DCONF.format(port=port), "utf-8")
            compiling = [program("dconf"), "compile", str(database), str(keys)]
            await asyncio.to_thread(subprocess.run, compiling, check=True)
            done = await asyncio.to_thread(
                subprocess.run,
                [sys.executable, "-m", "detector", "exam", "gate", "--policy", "policy.toml", *options],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert json.loads(done.stdout)["action"] == action, done.stderr
