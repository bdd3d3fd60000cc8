"""What a program waits for at exam start: what is loaded, when, and that the event loop is never held up.

Nothing here probes of the clock on the wall: modules are counted, and the CPU time of what the loop runs.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from detector_testing import serve_origin
from detector_testing.tls_server import Script, serve_script

if TYPE_CHECKING:
    from pathlib import Path

    from detector_testing import PrivatePKI

HOSTS = tuple(f"exam{number}.example{number}.edu" for number in range(8))
NEVER = (
    "aiohttp",
    "jinja2",
    "sqlalchemy",
    "rich",
    "click",
    "tldextract",
    "prometheus_client",
    "dns",
    "aioquic",
    "utls",
    "h11",
    "importlib.resources",
    "zipfile",
    "detector.frozen",
    "gettext",
    "tuf",
    "detector.update",
    "detector.outbox",
)
"""What a check of a clean network needs nothing of."""


def loaded_after(code: str, *arguments: str) -> list[str]:
    """The modules that a fresh interpreter has loaded after some code."""
    done = subprocess.run(  # noqa: S603 - no shell; runs this interpreter on code written here
        [sys.executable, "-c", f"{code}\nimport json, sys; print(json.dumps(sorted(sys.modules)))", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return list(json.loads(done.stdout.splitlines()[-1]))


def test_import_loads_nothing_that_assesses_or_connects() -> None:
    """`import detector` has neither the assessing rooms nor a TLS library, nor anything of the extras."""
    loaded = loaded_after("import detector")
    early = [name for name in loaded if name.startswith(("detector.judge", "detector.probe", "detector.trust.classes"))]
    assert early == []
    later = {"OpenSSL", "service_identity", "cryptography", "importlib.metadata", "email", "tempfile"}
    assert (later | set(NEVER)) & set(loaded) == set()


SERVERS = {"aiohttp", "uvicorn", "hypercorn", "OpenSSL", "detector.origin.capture"}
"""Servers, and what keeps ClientHellos."""


@pytest.mark.parametrize(
    ("module", "needed"),
    [
        ("detector.origin", set()),
        ("detector.origin.requests", set()),
        ("detector.origin.asgi", set()),
        ("detector.origin.capture", {"detector.origin.capture"}),
        ("detector.origin.uvicorn", {"detector.origin.capture", "uvicorn"}),
        ("detector.origin.hypercorn", {"detector.origin.capture", "hypercorn"}),
        ("detector.origin.aiohttp", {"detector.origin.capture", "aiohttp"}),
    ],
)
def test_a_server_loads_what_it_uses(module: str, needed: set[str]) -> None:
    """The assessment of a server's requests loads no server and captures nothing; each hook loads its own server."""
    assert SERVERS & set(loaded_after(f"import {module}")) == needed


def test_public_roots_are_read_after_connecting_has_begun() -> None:
    """A detector with what is shipped is made without certifi's roots: known names of roots suffice for its pins."""
    loaded = loaded_after("import detector; detector.Detector(proxy='none')")
    assert {"certifi", "importlib.metadata"} & set(loaded) == set()


@pytest.mark.parametrize("known", [True, False])
def test_a_root_that_a_pin_file_names_is_known_or_refused_at_once(known: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a parameter of a table of cases
    """A name from certifi's history is taken at once; for any other certifi's roots are read, before anything else."""
    from detector import Detector  # noqa: PLC0415 - after the tests of what importing does
    from detector.errors import PinFileError  # noqa: PLC0415 - after the tests of what importing does

    named = "ISRG Root X1" if known else "Nobody's Root"
    pins = tmp_path / "pins.toml"
    pins.write_text(f'schema = 1\n[[endpoint]]\nhost = "exam.example.edu"\nroots = ["{named}"]\n', encoding="utf-8")
    if known:
        assert Detector(pins=pins, proxy="none").pins.endpoints[0].roots == (named,)
    else:
        with pytest.raises(PinFileError, match="no public root is known as"):
            Detector(pins=pins, proxy="none")


CHECK = """
import asyncio, sys
import detector
async def main():
    roots, logs, *rules = sys.argv[1:]
    hosts = [rule.split(":")[0] for rule in rules]
    return await detector.check(hosts, roots=roots, logs=logs, resolve=rules, proxy="none", offline=True)
print(asyncio.run(main()).verdict)
"""


async def test_check_of_a_clean_network_loads_no_more_than_it_needs(pki: PrivatePKI, tmp_path: Path) -> None:
    """Eight endpoints with SCTs, assessed: nothing of the extras is loaded, and no suffix list."""
    written = pki.write(tmp_path)
    async with serve_origin(pki.issue(HOSTS)) as origin:
        rules = [f"{host}:443:127.0.0.1:{origin.port}" for host in HOSTS]
        loaded = await asyncio.to_thread(loaded_after, CHECK, str(written.roots), str(written.ct_logs), *rules)
    assert set(NEVER) & set(loaded) == set()
    assert "detector.probe.tls.native" in loaded
    assert {"detector.probe.tls.openssl", "detector.probe.tls.transport"} & set(loaded) == set()


COMMAND = """
import sys
from detector.cli import run
assert run(sys.argv[1:]) == 0
"""


@pytest.mark.parametrize("command", [("check", "--format", "json"), ("exam", "gate")])
async def test_a_command_loads_no_other_command(command: tuple[str, ...], pki: PrivatePKI, tmp_path: Path) -> None:
    """What a proctoring client starts is imported with what commands share, and nothing that other commands need."""
    written = pki.write(tmp_path)
    async with serve_origin(pki.issue(HOSTS)) as origin:
        pins = tmp_path / "pins.toml"
        head = 'schema = 1\nname = "exams"\nupdated = 2026-01-01\nexpires = 2099-01-01\n'
        listed = (f'[[endpoint]]\nhost = "{host}"\ncategory = "exam"\noperator = "{host}"\n' for host in HOSTS)
        pins.write_text(head + "".join(listed), encoding="utf-8")
        rules = [word for host in HOSTS for word in ("--connect-to", f"{host}:443:127.0.0.1:{origin.port}")]
        sources = ["--pins", str(pins), "--roots", str(written.roots), "--ct-logs", str(written.ct_logs)]
        given = (*command, *sources, *rules, "--proxy", "none", "--offline", "--output", str(tmp_path / "result"))
        loaded = await asyncio.to_thread(loaded_after, COMMAND, *given)
    names = ("common", "completion", "options", "reporting", "settings", "signals", "stderr", "streams", "values")
    shared = {f"detector.cli.{name}" for name in names}
    assert {name for name in loaded if name.startswith("detector.cli.")} == {f"detector.cli.{command[0]}", *shared}
    assert (set(NEVER) - {"click", "gettext"}) & set(loaded) == set()
    assert {"detector.audit", "detector.scan.fleet", "detector.history", "detector.scan"} & set(loaded) == set()


@pytest.mark.parametrize(("form", "needed"), [("TABLE", {"rich.console", "rich.table"}), ("JSON", set())])
def test_what_writes_a_report_is_loaded_while_waiting(form: str, needed: set[str]) -> None:
    """A table has what draws it before there is anything to draw; JSON loads nothing for it."""
    loaded = loaded_after(f"from detector.cli import common, options; common.load_format(options.Format.{form})")
    assert needed | {"detector.report"} <= set(loaded)
    assert ("rich" in loaded) is bool(needed)


ENDING = """
import atexit, gc, sys
from detector.__main__ import main
atexit.register(lambda: print("frozen" if gc.get_freeze_count() else "searched"))
sys.argv = ["detector", "--version"]
main()
"""


def test_a_program_that_ends_searches_nothing_for_cycles() -> None:
    """What the command imported is out of the collector's sight by the time that Python takes it down."""
    done = subprocess.run(  # noqa: S603 - no shell; runs this interpreter on code written here
        [sys.executable, "-c", ENDING], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "frozen"


def test_every_command_is_where_the_table_says() -> None:
    """Each command can be imported, and is called what the table calls it."""
    from detector.cli import COMMANDS, detector  # noqa: PLC0415 - after the tests of what importing does

    commands = detector.commands
    assert {name: commands[name].name for name in commands} == {name: name for name in COMMANDS}


MEASURED = """
import asyncio, sys
import detector
from detector.exam import gate
from detector_testing.loop_lag import slowness, watch_callbacks
what, roots, logs, *rules = sys.argv[1:]
hosts = [rule.split(":")[0] for rule in rules]
settings = {"roots": roots, "logs": logs, "resolve": rules, "proxy": "none", "offline": True}
async def check():
    return {(await detector.check(hosts, **settings)).verdict}
async def probe():
    decision = await gate(hosts, pins=[], **settings)
    assert decision.evidence
    return {decision.action}
async def scan():
    session = await asyncio.to_thread(lambda: detector.Detector(**settings))
    return {result.verdict async for result in session.scan(hosts * 6)}
with watch_callbacks() as callbacks:
    found = asyncio.run({"check": check, "gate": probe, "scan": scan}[what]())
print(*found)
print(callbacks.worst.seconds * 1000 / slowness(), callbacks.count, callbacks.worst.what)
"""
"""What came out, and CPU milliseconds of the longest callback that the loop ran."""


@pytest.mark.serial
@pytest.mark.parametrize("what", ["check", "gate", "scan"])
@pytest.mark.parametrize("intercepted", [False, True])
async def test_nothing_holds_up_the_loop(
    what: str,
    intercepted: bool,  # noqa: FBT001 - a parameter of a table of cases
    pki: PrivatePKI,
    tmp_path: Path,
) -> None:
    """First contact with eight endpoints in a fresh process: no callback takes 5 ms of the loop's own thread.

    Reading roots and logs, verifying signatures and timestamps, packing evidence, and imports are all done next to it.
    A scan meets each endpoint six times.
    """
    written = pki.write(tmp_path)
    issuer = pki.private_ca("Campus Filter CA") if intercepted else pki
    async with serve_origin({host: issuer.issue([host]) for host in HOSTS}) as origin:
        rules = [f"{host}:443:127.0.0.1:{origin.port}" for host in HOSTS]
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", MEASURED, what, str(written.roots), str(written.ct_logs), *rules],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    found, measured = done.stdout.splitlines()
    worst, count, who = measured.split(maxsplit=2)
    if what == "gate":
        assert found == ("block" if intercepted else "allow")
    else:
        assert found == ("middleware" if intercepted else "clean")
    assert int(count) > len(HOSTS)
    assert float(worst) < 5.0, who


@pytest.mark.serial
async def test_a_thousand_tarpits_cost_the_deadline(pki: PrivatePKI, tmp_path: Path) -> None:
    """A thousand servers that accept and say nothing: all are reported, in one go, and nothing is left open."""
    from detector import Detector, Endpoint  # noqa: PLC0415 - after the tests of what importing does

    written = pki.write(tmp_path)
    async with serve_script(Script.silence()) as server:
        endpoints = [Endpoint(host=f"h{number}.example.edu", address=server.address) for number in range(1000)]
        before = len(asyncio.all_tasks())
        async with Detector(
            pins=[], roots=written.roots, logs=written.ct_logs, proxy="none", offline=True, concurrency=1000
        ) as session:
            begin = asyncio.get_running_loop().time()
            report = await session.check(endpoints, deadline=3.0)
            took = asyncio.get_running_loop().time() - begin
        assert {result.observation.outcome for result in report.results} <= {"deadline", "handshake-timeout"}
        assert all(not result.observation.chain for result in report.results)
        assert (report.verdict, len(report.results)) == ("inconclusive", 1000)
        assert server.connections > 0  # how many a busy machine takes in within three seconds is not the question
        async with asyncio.timeout(30):  # far more than it takes: a connection that was left open never ends
            await server.settled()
        assert len(asyncio.all_tasks()) == before
        assert took < 2 * 3.0  # twice the deadline: this machine may be busy, and a hang is longer than that


@pytest.mark.serial
async def test_what_answers_is_assessed_next_to_tarpits(pki: PrivatePKI, tmp_path: Path) -> None:
    """Eight endpoints are assessed although a hundred others never answer."""
    from detector import Detector, Endpoint  # noqa: PLC0415 - after the tests of what importing does

    written = pki.write(tmp_path)
    async with serve_origin(pki.issue(HOSTS)) as origin, serve_script(Script.silence()) as tarpit:
        silent = [Endpoint(host=f"h{number}.example.net", address=tarpit.address) for number in range(100)]
        genuine = [Endpoint(host=host, address=origin.address) for host in HOSTS]
        async with Detector(
            pins=[], roots=written.roots, logs=written.ct_logs, proxy="none", offline=True, concurrency=200
        ) as session:
            report = await session.check([*silent, *genuine], deadline=1.5)
    verdicts = {result.endpoint.host: result.verdict for result in report.results}
    assert {verdicts[host] for host in HOSTS} == {"clean"}
    assert sum(verdict == "inconclusive" for verdict in verdicts.values()) == 100
