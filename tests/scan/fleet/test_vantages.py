"""A fleet whose workers stand in different networks, one of them behind an interceptor.

Five hops in namespaces: the worker `hall` stands before the box, whose packet filter turns HTTPS to an interceptor;
`library`, `office` and the scheduler stand behind it.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from detector_testing import serve_middlebox, serve_origin
from support.fleet_parts import Fleet, a_fleet, lines

from detector.model import Category, Endpoint, RecordedIdentity
from detector.pins import PinSet
from detector.pins.write import dump
from detector.scan.fleet import certificates

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from detector_testing import Lab, PrivatePKI

pytestmark = pytest.mark.lab

HOSTS = {
    "exam.example.edu": Category.EXAM,
    "lms.example.org": Category.LMS,
    "bank.example.net": Category.BANK,
}
VANTAGES = ("hall", "library", "office")
PORT = 8443
"""Where the interceptor listens on the box."""


@pytest_asyncio.fixture
async def campus(network_lab: Lab, pki: PrivatePKI, tmp_path: Path) -> AsyncIterator[Fleet]:
    """Three pinned hosts behind the lab's origin, an interceptor on the box, and a worker in each of three networks."""
    lab = network_lab
    issued = {host: pki.issue([host]) for host in HOSTS}
    endpoints = [
        Endpoint(
            host=host,
            category=category,
            pins=(issued[host].spki_sha256,),
            identity=RecordedIdentity.PUBLIC,
            address=(lab.origin.ipv4, 443),
        )
        for host, category in HOSTS.items()
    ]
    (tmp_path / "pins.toml").write_text(dump(PinSet(name="campus", endpoints=tuple(endpoints))), "utf-8")
    certificates.write(tmp_path / "tls", hosts=[lab.far.ipv4], now=dt.datetime.now(dt.UTC))
    upstream = {(host, 443): (lab.origin.ipv4, 443) for host in HOSTS}
    middlebox = serve_middlebox(
        pki.private_ca("Hall CA"), mode="transparent-like", upstream=upstream, host="", port=PORT
    )
    async with (
        lab.origin.inside(serve_origin(issued, host="", port=443)),
        lab.box.inside(middlebox),
        a_fleet(tmp_path / "tls", lab.far) as fleet,
    ):
        await lab.redirect(443, to=PORT)
        for vantage, place in zip(VANTAGES, (lab.client, lab.far, lab.origin), strict=True):
            await fleet.worker(vantage, place)
        yield fleet


async def test_one_vantage_behind_an_interceptor(
    campus: Fleet, network_lab: Lab, fleet_trust: tuple[str, ...], tmp_path: Path
) -> None:
    """Every vantage probes every target: intercepted in the hall, proven; clean, pinned, from the others."""
    words = (*fleet_trust, "--pins", str(tmp_path / "pins.toml"), "--mode", "every")
    done = await campus.scan(*words, inside=network_lab.far)
    assert done.returncode == 1, done.stderr
    last = {(line["vantage"], line["result"]["endpoint"]["host"]): line["result"] for line in lines(done)}
    assert {
        key: (result["verdict"], result.get("confidence"), result.get("assurance")) for key, result in last.items()
    } == {
        (vantage, host): ("middleware", "proven", None) if vantage == "hall" else ("clean", None, "pinned")
        for vantage in VANTAGES
        for host in HOSTS
    }
    assert {last["hall", host]["attribution"]["issuer"] for host in HOSTS} == {"CN=Hall CA"}


async def test_one_page_for_all(campus: Fleet, network_lab: Lab, fleet_trust: tuple[str, ...], tmp_path: Path) -> None:
    """The page has a row for each host and a column for each vantage; only the ones asked for, where some were."""
    page = tmp_path / "page.html"
    words = (*fleet_trust, "--pins", str(tmp_path / "pins.toml"), "--format", "html", "--output", str(page))
    assert (await campus.scan(*words, inside=network_lab.far)).returncode == 1
    text = page.read_text("utf-8")
    assert [word for word in (*HOSTS, *VANTAGES, "Hall CA") if word not in text] == []
    only = await campus.scan(*words, "--vantage", "library", "--vantage", "office", inside=network_lab.far)
    assert only.returncode == 0, only.stderr
    assert "hall" not in page.read_text("utf-8")


async def test_spread(campus: Fleet, network_lab: Lab, fleet_trust: tuple[str, ...], tmp_path: Path) -> None:
    """Spread over all, each target is probed once, and says from where: what was seen in the hall is no other's."""
    targets = tmp_path / "targets.txt"
    targets.write_text("".join(f"{host}\n" * 100 for host in HOSTS), "utf-8")
    words = (*fleet_trust, "--pins", str(tmp_path / "pins.toml"), "--targets", str(targets), "--mode", "spread")
    done = await campus.scan(*words, inside=network_lab.far)
    assert done.returncode == 1, done.stderr
    found = {line["result"]["number"]: line for line in lines(done)}
    assert sorted(found) == list(range(300))
    assert {line["vantage"] for line in found.values()} == set(VANTAGES)
    verdicts = {(line["vantage"] == "hall", line["result"]["verdict"]) for line in found.values()}
    assert verdicts == {(True, "middleware"), (False, "clean")}


async def test_killed_among_networks(
    campus: Fleet, network_lab: Lab, fleet_trust: tuple[str, ...], tmp_path: Path
) -> None:
    """A worker of the three killed mid-scan: its vantage's targets are reported as not probed, the others' as seen."""
    targets = tmp_path / "targets.txt"
    targets.write_text("exam.example.edu\n" * 2000, "utf-8")
    words = ("--pins", str(tmp_path / "pins.toml"), "--targets", str(targets), "--lost-after", "5", "--timeout", "60")
    output = tmp_path / "out.jsonl"
    given = ("--tls", str(campus.folder), "--scheduler", campus.address, *fleet_trust, *words, "--output", str(output))
    scanning = await campus.start("scan", *given, inside=network_lab.far)
    await scanning.reports("3 workers probe from")
    await campus.parts[VANTAGES.index("office") + 1].kill()
    await scanning.process.wait()
    await scanning.reading
    reported: dict[str, dict[int, str]] = {vantage: {} for vantage in VANTAGES}
    for line in map(json.loads, output.read_text("utf-8").splitlines()):
        reported[line["vantage"]][line["result"]["number"]] = line["result"]["verdict"]
    assert {vantage: len(numbers) for vantage, numbers in reported.items()} == dict.fromkeys(VANTAGES, 2000)
    assert set(reported["hall"].values()) == {"middleware"}
    assert set(reported["library"].values()) == {"clean"}
    assert "inconclusive" in reported["office"].values()
