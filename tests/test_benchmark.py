"""The benchmark: how it reads, sums up and writes, what it says of bad usage, and that its clients do their work.

No time is assessed here.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from detector_testing import serve_origin
from support.system import program

from benchmark import (
    attempts,
    collect,
    command,
    contenders,
    detector_clients,
    memory,
    page,
    processes,
    rounds,
    start,
    stdlib_clients,
)
from benchmark.contenders import Absent
from benchmark.origin import Origin, serving
from benchmark.process import NotRunError, Run, measure
from benchmark.rounds import Sample, Spread, TooShortError

if TYPE_CHECKING:
    from detector_testing import PrivatePKI

ROOT = Path(__file__).resolve().parents[1]


def test_start_up_is_taken_off() -> None:
    """A probe costs what the run took, less what a run without probes took, over the number of probes."""
    assert rounds.per_probe(1.25, 0.25, 500) == pytest.approx(2.0)


@pytest.mark.parametrize(("working", "idle"), [(0.2, 0.2), (0.1, 0.2)])
def test_noise_is_not_a_result(working: float, idle: float) -> None:
    """A run that took no longer than one without probes says nothing, and is no number below zero."""
    with pytest.raises(TooShortError, match="no longer than none"):
        rounds.per_probe(working, idle, 10)


def test_no_probes_are_no_result() -> None:
    """Nothing is divided by zero probes."""
    with pytest.raises(NotRunError, match="no probe was made"):
        rounds.per_probe(1.0, 0.1, 0)


def test_ratios_are_taken_within_a_round() -> None:
    """A round in which everything was slow does not make a contender slower than the reference."""
    samples = {
        "go": [Sample(1.0, 3.0, 1.0, 0.5, 2.0), Sample(4.0, 3.0, 1.0, 0.7, 4.0), Sample(2.0, 5.0, 1.0, 0.6, 3.0)],
        "ours": [Sample(2.0, 90.0, 1.0), Sample(8.0, 80.0, 1.0), Sample(5.0, 70.0, 1.0)],
    }
    go, ours = rounds.summarise(samples)
    assert go.ratio == Spread(1.0, 1.0, 1.0)
    assert ours.ratio == Spread(2.0, 2.0, 2.5)
    assert ours.cpu_ms == Spread(2.0, 5.0, 8.0)
    assert (ours.rate, ours.startup_ms, ours.p50_ms) == (200.0, 80.0, None)
    assert (go.p50_ms, go.p99_ms) == (0.6, 3.0)


def test_without_the_reference_there_is_no_ratio() -> None:
    """Where Go could not be had the other numbers stand alone."""
    (row,) = rounds.summarise({"ours": [Sample(2.0, 1.0, 1.0)]})
    assert row.ratio is None


def _contender(name: str, *, required: bool) -> contenders.Contender:
    idle = contenders.Command([sys.executable, "-c", ""])
    return contenders.Contender(name, "", 1, lambda *_: idle, lambda _: idle, int, "", required=required)


def test_only_a_required_contender_ends_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one that breaks is named as absent, and one whose probes are lost in noise fails nobody."""
    breaks: Exception = NotRunError("it broke")

    def measure_once(contender: contenders.Contender, *_: object, **__: object) -> Sample:
        if contender.name == "bad":
            raise breaks
        return Sample(1.0, 1.0, 1.0)

    monkeypatch.setattr(rounds, "measure_once", measure_once)
    origin = Origin(Path(), 1, 2, 3, (), {}, "")

    def run(*, required: bool) -> tuple[dict[str, list[Sample]], list[Absent]]:
        taking_part = [_contender("good", required=True), _contender("bad", required=required)]
        return rounds.alternate(taking_part, origin, core=None, rounds=2, scale=1.0, report=print)

    samples, failed = run(required=False)
    assert (len(samples["good"]), failed) == (2, [Absent("bad", "it broke")])
    with pytest.raises(NotRunError, match="bad: it broke"):
        run(required=True)
    breaks = TooShortError("noise")
    assert run(required=True)[1] == [Absent("bad", "noise")]


def test_samples_of_other_rounds_are_not_compared() -> None:
    """A contender with fewer rounds than the reference is an error of the benchmark, and not cut short."""
    with pytest.raises(ValueError, match="argument 2 is longer"):
        rounds.summarise({"go": [Sample(1.0, 1.0, 1.0)] * 2, "ours": [Sample(1.0, 1.0, 1.0)]})


def test_a_client_that_says_something_else_did_not_run() -> None:
    """What is not the line of JSON is shown, and is no success."""
    assert contenders.completed('noise\n{"completed": 7, "wall_s": 1.5}\n') == 7
    for said in ("", "Traceback: bad", "[]", '{"completed": "7"}'):
        with pytest.raises(NotRunError, match="did not report"):
            contenders.completed(said)


def test_programs_are_counted_by_what_they_print() -> None:
    """s_time counts its connections itself; certificates are counted by their first line."""
    text = "712 connections in 0.96s; 741.67 connections/user sec\n712 connections in 2 real seconds, 0 bytes"
    assert contenders.connections_of_s_time(text) == 712
    with pytest.raises(NotRunError, match="did not count"):
        contenders.connections_of_s_time("connect:errno=111")
    assert contenders.counting(contenders.CERTIFICATE, 3)((contenders.CERTIFICATE + "\n") * 6) == 2


def test_memory_is_read_from_the_status() -> None:
    """Resident memory is one line among others; without it the process has ended."""
    assert memory.resident("Name:\tpython\nVmRSS:\t   46080 kB\nVmSwap:\t 0 kB\n") == 45.0
    with pytest.raises(NotRunError, match="ended"):
        memory.resident("Name:\tpython\nState:\tZ (zombie)\n")


def test_connections_are_shared_by_as_few_processes_as_can_be() -> None:
    """No process gets more than it may have open, and all get about as many."""
    assert memory.shares(19_800, 19_800) == [19_800]
    assert memory.shares(20_000, 19_800) == [10_000, 10_000]
    assert memory.shares(5, 2) == [2, 2, 1]


def test_handshakes_wait_in_several_processes_at_once(tmp_path: Path) -> None:
    """Where one process may not have them all open, several have; all wait together, and all complete."""
    program("nginx")
    (native,) = [one for one in contenders.python_clients() if one.name == "probe:browser"]
    with serving(tmp_path, hosts=0, core=None) as server:
        before = server.accepted()
        held = memory.hold(native, server, 5, (None, None), room=2)
        assert server.accepted() - before >= 5
    assert (held.connections, held.processes) == (5, 3)
    assert held.mebibytes > 3 * 10  # no Python is smaller


def test_imports_are_summed_by_package() -> None:
    """Modules' own time adds up by package; the heading and other output are left out."""
    text = (
        "import time: self [us] | cumulative | imported package\n"
        "import time:       500 |        500 |   detector.model\n"
        "import time:      1500 |       4000 | detector\n"
        "import time:       250 |        250 | asyncio.base_events\n"
        "a line of the program\n"
    )
    assert start.by_package(start.imports(text)) == [("detector", 2.0), ("asyncio", 0.25)]


def test_a_check_is_compared_with_the_floor_next_to_it() -> None:
    """Pairs are subtracted, not medians."""
    assert start.difference([60.0, 90.0, 55.0], [50.0, 70.0, 54.0]) == Spread(1.0, 10.0, 20.0)


def test_processes_are_compared_within_a_round() -> None:
    """Start-up is taken off both CPU and time; a slow round slows both sides; the page has a line for it."""
    few = Run(1.0, 1.0, "", 0)
    one = [processes.per_target(few, Run(3.0, 3.0, "", 0), 1000), processes.per_target(few, Run(5.0, 5.0, "", 0), 1000)]
    two = [processes.per_target(few, Run(3.2, 2.0, "", 0), 1000), processes.per_target(few, Run(5.4, 3.0, "", 0), 1000)]
    found = processes.compare("refused", one, two)
    assert (found.one_rate.least, found.one_rate.most) == (250.0, 500.0)
    assert found.rate_ratio == Spread(2.0, 2.0, 2.0)
    assert found.cpu_ratio.median == pytest.approx(1.1)
    assert "| refused | **375** (250-500) |" in page._scaling([found]).replace("\N{EN DASH}", "-")
    with pytest.raises(NotRunError, match="make more"):
        processes.per_target(few, few, 1000)


def _measured() -> page.Measured:
    return page.Measured(
        command="python -m benchmark",
        date="2026-11-25",
        rounds=7,
        machine={"processor": "a | b"},
        versions={"go": "go1.27"},
        does={"go": "chain captured"},
        rows=rounds.summarise({"go": [Sample(0.5, 3.0, 1.0, 0.5, 2.0)]}),
        absent=[Absent("tls-scan", "not to\nbe | had")],
        held=[memory.Held("go", 1000, 1, 20.25), memory.Held("go", 20_000, 2, 500.0)],
        not_held=[Absent("go with 20,000 connections", "no files")],
        start=None,
    )


def test_tables_name_who_is_missing() -> None:
    """A program that was not measured has a row with the reason, which cannot break the table."""
    text = page.tables(_measured())
    row = "| `go` | **0.500** (0.500-0.500) | **1.00** (1.00-1.00) | 2,000 | 3 | 0.50 / 2.00 | 1 | chain captured |"
    assert row in text.replace("\N{EN DASH}", "-")
    assert "| `tls-scan` | not measured | | | | | | not to be / had |" in " ".join(text.split("  "))
    assert "| contender | 1,000 connections, MiB | 20,000 connections in 2 processes, MiB |" in text
    assert "| `go` | 20 | 500 |" in text
    assert "`go with 20,000 connections` was not measured: no files" in text


def test_json_says_the_same() -> None:
    """All that was measured can be written as JSON."""
    said = json.loads(json.dumps(page.as_json(_measured())))
    assert said["rows"][0]["cpu_ms"] == {"least": 0.5, "median": 0.5, "most": 0.5}
    assert said["absent"][0]["name"] == "tls-scan"


def test_only_what_is_between_the_markers_changes() -> None:
    """Prose around the tables stays; a page without markers is refused."""
    written = f"# Title\n{page.BEGIN}\nold\n{page.END}\nprose\n"
    assert page.inserted(written, "new") == f"# Title\n{page.BEGIN}\n\nnew\n\n{page.END}\nprose\n"
    for bad in ("# Title\n", f"{page.END}\n{page.BEGIN}\n"):
        with pytest.raises(page.PageError, match="no place"):
            page.inserted(bad, "new")


def test_the_published_page_has_its_place_for_tables() -> None:
    """docs/performance.md can be written again by the command it names."""
    published = (ROOT / "docs" / "performance.md").read_text()
    assert page.inserted(published, "x") != published


def test_a_collector_is_compared_within_a_round() -> None:
    """Each setting has a row, and ratios are taken within a round; the page has its place for them."""
    fast, slow = collect.Received(100.0, 5.0, 20.0, 2.0), collect.Received(50.0, 10.0, 40.0, 2.0)
    one, two, embedded = collect.SETTINGS
    found = {one: [(slow, 10.0), (fast, 20.0)], two: [(fast, 30.0), (fast, 40.0)], embedded: [(slow, 5.0), (slow, 5.0)]}
    text = collect.table(found, 3000, 16_500, 2)
    assert "| PostgreSQL | 1 | **75.0** (50.0 to 100.0) | **7.50** (5.00 to 10.00) |" in text
    assert "Two services receive **1.50** (1.00 to 2.00) times" in text
    assert "two processes assess **2.50** (2.00 to 3.00) times" in text
    published = (ROOT / "docs" / "collect-performance.md").read_text()
    assert page.inserted(published, "x") != published


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--rounds", "3"], "at least 7"),
        (["--quick", "--rounds", "0"], "at least 7"),
        (["--connections", "many"], "numbers with commas"),
        (["--connections", "9999999"], "from 0 to"),
        (["--contenders", ","], "at least one"),
        (["--write", "no/such/page.md"], "no/such/page.md"),
        (["--json", "no/such/folder/x.json"], "does not exist"),
    ],
)
def test_bad_usage_is_said_in_a_sentence(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 before anything is started."""
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_a_measured_command_has_cpu_and_output() -> None:
    """CPU comes from the kernel, output and code from the process."""
    code = "import sys; sum(range(3_000_000)); print(sys.stdin.read()); sys.exit(3)"
    run = measure([sys.executable, "-c", code], core=None, stdin="reported")
    assert (run.output, run.code) == ("reported\n", 3)
    assert run.cpu > 0
    with pytest.raises(NotRunError, match="no-such-program"):
        measure(["no-such-program"], core=None)


async def test_clients_probe_and_report(pki: PrivatePKI, tmp_path: Path) -> None:
    """Every client makes its probes against a server with three certificates, and says how many."""
    host = "exam.example.edu"
    issued = pki.issue([host], cross_signed=True)
    written = pki.write(tmp_path)
    async with serve_origin(issued) as origin:
        settings = {
            "host": host,
            "patience": 30.0,
            "addresses": [origin.address],
            "many": origin.address,
            "hosts": [host],
            "pins": {host: issued.spki_sha256.hex()},
            "roots": str(written.roots),
            "logs": str(written.ct_logs),
        }
        probing = [("probe:browser", 2), ("probe:openssl", 2), ("probe-seen:browser", 2)]
        for kind, count in (*probing, ("scan-first:browser", 1), ("scan-seen:browser", 2)):
            before = origin.connections
            assert (await detector_clients.run(kind, settings, count, 2))["completed"] == count
            assert origin.connections - before == count + ("-seen" in kind)
        for kind in ("memory", "streams"):
            report = await stdlib_clients.run(kind, settings, 2, 1)
            assert report["p50_ms"] <= report["p99_ms"]
        with pytest.raises(attempts.IncompleteError, match="needs 2, there are 1"):
            await detector_clients.run("scan-first:browser", settings, 2, 2)


async def test_an_incomplete_probe_fails(pki: PrivatePKI) -> None:
    """A chain of another length fails the client: what did half of the work is not compared."""
    async with serve_origin(pki.issue(["exam.example.edu"])) as origin:
        settings = {"host": "exam.example.edu", "addresses": [origin.address], "patience": 30.0}
        with pytest.raises(ExceptionGroup) as group:
            await detector_clients.run("probe:browser", settings, 1, 1)
    assert group.group_contains(attempts.IncompleteError, match="2 certificates")


def test_nothing_is_left_after_an_interruption(tmp_path: Path) -> None:
    """Ctrl-C in the middle of a round ends the benchmark with 130, and its scratch folder and servers with it."""
    program("nginx")
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmark", "--quick", "--contenders", "streams", "--connections", "0"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={"PATH": "/usr/bin:/bin:/usr/sbin", "HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
    )
    with process:
        assert process.stderr is not None
        first = process.stderr.readline()
        assert "round 1" in first, first
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(30) == 130, rest
    assert list(tmp_path.glob("detector-benchmark-*")) == []
    listed = subprocess.run(["/bin/ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in listed
