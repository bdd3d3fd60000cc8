"""GNOME's proxy settings in a real dconf database, read by the real gsettings: proxy files, exceptions and faults.

Room: tests. `test_machine_settings` has fixed proxies, and other systems.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from detector_testing import run_mitmproxy, serve_origin
from support.system import program

import detector
from detector import Detector, Endpoint
from detector.model import Route
from detector.trust.roots import from_der

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from detector_testing import PrivatePKI

EXAM = "exam.example.edu"
pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("no_proxy_in_the_environment")]

WRITTEN = {
    "file": "[system/proxy]\nmode='auto'\nautoconfig-url='file://{file}'\n",
    "faulty file": "[system/proxy]\nmode='auto'\nautoconfig-url='http://127.0.0.1:9/proxy.pac'\n",
    "excepted": "[system/proxy]\nmode='manual'\nignore-hosts=['*.example.edu']\n"
    "[system/proxy/https]\nhost='127.0.0.1'\nport={port}\n",
}


def set_on_this_machine(kind: str, port: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the settings into a database of their own."""
    program("gsettings")
    file = folder / "proxy.pac"
    file.write_text(f'function FindProxyForURL() {{ return "PROXY 127.0.0.1:{port}" }}')
    for name in ("keys", "config/dconf"):
        (folder / name).mkdir(parents=True)
    (folder / "keys" / "proxy").write_text(WRITTEN[kind].format(port=port, file=file))
    subprocess.run(  # noqa: S603 - a program of `PACKAGES`, on files of this test
        [program("dconf"), "compile", str(folder / "config/dconf/user"), str(folder / "keys")], check=True
    )
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    monkeypatch.delenv("GSETTINGS_BACKEND", raising=False)


async def test_the_gate_follows_the_machines_file(
    pki: PrivatePKI,
    tmp_path: Path,
    settings_of: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The proxy that a file names decrypts, and the environment names none: by default the gate finds it and blocks."""
    stated = tuple(sorted(from_der([pki.root_a.certificate, pki.root_b.certificate], name="lab").labels))
    issued = pki.issue([EXAM])
    endpoint = Endpoint(host=EXAM, pins=(issued.spki_sha256,), roots=stated)
    async with (
        serve_origin(issued) as origin,
        run_mitmproxy(upstream_hosts={(EXAM, 443): origin.address}) as mitm,
    ):
        set_on_this_machine("file", mitm.port, tmp_path, monkeypatch)
        options = settings_of(endpoint, resolve={(EXAM, 443): origin.address})
        del options["proxy"]
        decision = await detector.exam.gate(deadline=30, **options)
    (result,) = decision.report.results
    assert (decision.action, result.verdict, result.confidence) == ("block", "middleware", "proven")
    assert (result.observation.route, result.observation.unfollowed_proxy) == (Route.HTTP_CONNECT, None)
    assert str(result.attribution and result.attribution.product).startswith("mitmproxy")


@pytest.mark.parametrize(("kind", "why"), [("faulty file", "file-faulty"), ("excepted", None)])
async def test_a_direct_route_by_the_machines_settings(  # noqa: PLR0913 - fixtures and what is varied
    *,
    kind: str,
    why: str | None,
    pki: PrivatePKI,
    tmp_path: Path,
    settings_of: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An exception is followed; a file that cannot be had leaves the direct route, and that is said."""
    async with serve_origin(pki.issue([EXAM])) as origin:
        set_on_this_machine(kind, 9, tmp_path, monkeypatch)
        options = settings_of(resolve={(EXAM, 443): origin.address})
        del options["proxy"]
        async with Detector(**options) as subject:
            report = await subject.check([EXAM], deadline=30)
    (result,) = report.results
    assert (result.observation.route, result.observation.unfollowed_proxy) == (Route.DIRECT, why)
