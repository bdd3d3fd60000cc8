"""Networks with a fault, for real: large hellos that get lost, an address that is dead, an interceptor that is slow."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import pytest
from detector_testing import Mode, fetch_mitmdump, run_mitmproxy, serve_middlebox, serve_origin
from support.addresses import Fault
from support.boxes import serve_box
from support.interceptors import EXAM, HOSTS

from detector import Detector, Report

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from detector_testing import PrivatePKI
    from support.interceptors import Campus

    Settings = Callable[..., dict[str, Any]]

pytestmark = pytest.mark.lab


def loses(condition: str) -> tuple[str, ...]:
    """A packet filter that loses what the client sends to port 443 under this condition."""
    table = "table inet fault"
    chain = "chain lose { type filter hook forward priority filter; policy accept;"
    return (table, f"delete {table}", f"{table} {{", chain, f"tcp dport 443 {condition} drop", "}", "}")


LARGE = "meta length > 1000"
"""Bytes of a packet: a large hello's first segment has more, a small hello fewer."""
ANY_DATA_OVER_IPV6 = "meta nfproto ipv6 meta length > 100"
"""More than the headers of a packet without data: TCP connects, and no hello arrives."""


async def test_a_path_that_loses_large_hellos(campus: Campus) -> None:
    """Every host is clean by the small hello, and every failure was one of the usual hello."""
    await campus.lab.box.nft(*loses(LARGE))
    clean = await campus.check()
    assert [(r.verdict, r.reason) for r in clean.results] == [("clean", "pinned")] * len(HOSTS)
    assert all(r.observation.small_hello for r in clean.results)
    assert {each.small_hello for r in clean.results for each in r.observation.earlier} == {False}


async def test_an_ip_version_that_swallows_everything(campus: Campus) -> None:
    """TCP over IPv6 connects and nothing more comes: IPv4 decides, by the usual hello, and IPv6 is reported."""
    lab = campus.lab
    await lab.name_hosts(dict.fromkeys(HOSTS, (lab.origin.ipv6, lab.origin.ipv4)))
    await lab.box.nft(*loses(ANY_DATA_OVER_IPV6))
    for result in (await campus.check(family=None)).results:
        assert (result.verdict, result.observation.small_hello) == ("clean", False)
        assert result.observation.address == f"{lab.origin.ipv4}:443"
        assert {each.address for each in result.observation.earlier} == {f"[{lab.origin.ipv6}]:443"}


async def test_mitmproxy_behind_a_box_that_resets_large_hellos(pki: PrivatePKI, settings_of: Settings) -> None:
    """It decrypts clients with small hellos, and is found."""
    command = await fetch_mitmdump()
    async with (
        serve_origin(pki.issue([EXAM])) as origin,
        run_mitmproxy(f"reverse:https://127.0.0.1:{origin.port}", command=command) as mitm,
        serve_box(("127.0.0.1", mitm.port), Fault.RESET) as box,
        Detector(**settings_of(resolve={(EXAM, 443): box.address})) as subject,
    ):
        (result,) = (await subject.check([EXAM])).results
    assert (result.verdict, result.observation.small_hello) == ("middleware", True)
    assert result.attribution is not None
    assert str(result.attribution.product).startswith("mitmproxy")


async def test_an_interceptor_that_needs_eight_seconds(pki: PrivatePKI, tmp_path: Path) -> None:
    """Eight real seconds for its first certificate: caught with a deadline of 30, by the first connection."""
    written = pki.write(tmp_path)
    async with (
        serve_origin(pki.issue([EXAM])) as origin,
        serve_middlebox(
            pki.private_ca("Slow CA"), mode=Mode.TRANSPARENT, upstream=origin.address, certificate_delay=8.0
        ) as box,
    ):
        resolve = (
            "--connect-to",
            f"{EXAM}:443:127.0.0.1:{box.port}",
            "--deadline",
            "30",
            "--offline",
            "--proxy",
            "none",
        )
        trust = ("--roots", str(written.roots), "--ct-logs", str(written.ct_logs), "--format", "json")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "detector", "check", EXAM, *resolve, *trust), stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
    (result,) = Report.from_json(output).results
    assert (result.verdict, result.observation.small_hello) == ("middleware", False)
