"""`detector origin judge` as operators use it: what it says, what it keeps, and what it never keeps."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest
from support.command import Done, run
from support.log_lines import haproxy_line, nginx_line

from detector.model import Report
from detector.origin.logs import _JsonLine

if TYPE_CHECKING:
    from collections.abc import Iterator

SITE: Final = "exam.example.edu"
CHROME: Final = b"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0"
FIREFOX: Final = b"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:144.0) Gecko/20100101 Firefox/144.0"
OWN: Final = (0x4A4A, 0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F), (0x1A1A, 29, 23, 24)
PROXYS: Final = (0x1302, 0x1303, 0x1301, 0x009E, 0x009F, 0xC023), (29, 23, 30, 25, 24, 256, 257)
DEVICES: Final = (*PROXYS[0], 0xC027), PROXYS[1]
HOTELS: Final = (*PROXYS[0], 0x0067), PROXYS[1]
"""Each network has an interceptor of its own: what several share, a front of the site explains."""
SCHOOL, HOME, HOTEL = "192.0.2.", "198.51.100.", "2001:db8:7::"
AGENTS: Final = (CHROME, FIREFOX)


class Desk(NamedTuple):
    """A folder with a log of three networks: a school that decrypts, homes with one such device, a hotel of four."""

    folder: Path

    def judge(self, *options: str, log: str = "detector.log", form: str = "nginx") -> Done:
        words = ("origin", "judge", log, "--format", form, "--site", SITE, *options)
        return run(*words, cwd=self.folder, env={"COLUMNS": "160"})

    def by_network(self, *options: str) -> Done:
        return self.judge("--by-network", "--network-key", "key", *options)


def lines() -> Iterator[bytes]:
    for seat in range(20):
        yield nginx_line(*PROXYS, AGENTS[seat % 2], address=f"{SCHOOL}{seat}", account=f"pupil-{seat}")
    for seat in range(30):
        suites, groups = DEVICES if seat == 3 else OWN
        yield nginx_line(suites, groups, CHROME, address=f"{HOME}{seat}", account=f"family-{seat}")
    for seat in range(4):
        yield nginx_line(*HOTELS, AGENTS[seat % 2], address=f"{HOTEL}{seat}", account=f"guest-{seat}")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    (tmp_path / "detector.log").write_bytes(b"".join(lines()))
    (tmp_path / "key").write_bytes(bytes(range(32)))
    return Desk(tmp_path)


def test_the_verdict_comes_first(desk: Desk) -> None:
    """The first line says how sure it is, and of what; -q says nothing else."""
    done = desk.judge()
    assert done.returncode == 1
    assert done.stdout.startswith(f"INTERCEPTED (probable): TLS between {SITE} and some of its clients")
    assert "It could also be" in done.stdout
    assert "Note: The browser is contradicted for" in done.stderr
    assert "with browsers' offers of 20" in done.stdout
    assert len(desk.judge("-q").stdout.splitlines()) <= 2
    assert desk.judge("--fail-on", "proven").returncode == 3


def test_networks_apart(desk: Desk) -> None:
    """A school that decrypts is probable, one device at home possible, and a hotel with four guests is not shown."""
    done = desk.by_network()
    assert done.returncode == 1
    assert done.stdout.startswith("Of 2 networks, interception is probable in 1, possible in 1.\n")
    assert "20 of 20 accounts (83% to 100%)" in done.stdout
    assert "1 of 30 accounts (0% to 17%)" in done.stdout
    assert "not shown, with fewer than 5 clients or without an address: 1 of 3." in done.stderr
    assert desk.by_network("--at-least", "4").stdout.startswith(
        "Of 3 networks, interception is probable in 2, possible in 1."
    )
    silent = desk.by_network("--at-least", "31")
    assert (silent.returncode, silent.stdout) == (3, "No network has 31 clients or more.\n")


def test_nothing_seen_is_not_called_clean(desk: Desk) -> None:
    """Browsers with their own hellos end with 0, and no text calls that clean."""
    own = [nginx_line(*OWN, CHROME, address=f"{HOME}{seat}", account=f"{seat}") for seat in range(9)]
    (desk.folder / "detector.log").write_bytes(b"".join(own))
    for done in (desk.judge(), desk.judge("-v"), desk.by_network(), desk.judge("--output-format", "html")):
        assert done.returncode == 0
        assert "clears" in done.stdout
        assert "no sign of" not in done.stdout.lower()
        assert ">clean" not in done.stdout.lower()
    report = Report.from_json(desk.judge("--json").stdout)
    assert (report.verdict, report.confidence, report.results[0].reason) == ("inconclusive", None, "nothing-seen")


@pytest.mark.parametrize("form", ["json", "jsonl", "html", "ecs", "ocsf", "cef", "syslog"])
def test_every_format_takes_networks(form: str, desk: Desk) -> None:
    """Each format has each network by its name, and ends as the table does."""
    names = [one["vantage"] for one in json.loads(desk.by_network("--json").stdout)]
    done = desk.by_network("--output-format", form)
    assert (done.returncode, len(names)) == (1, 2)
    assert all(name in done.stdout for name in names)
    if form == "jsonl":
        assert [Report.from_json(line).vantage for line in done.stdout.splitlines()] == names


def test_a_history_has_every_network(desk: Desk) -> None:
    """Runs of one network are found by its name, shown, compared, and go into a dossier."""
    kept = ("--history", "runs.sqlite")
    assert desk.by_network(*kept).returncode == 1
    assert desk.by_network(*kept).returncode == 1
    listed = [
        json.loads(line) for line in run("history", *kept, "--format", "jsonl", cwd=desk.folder).stdout.splitlines()
    ]
    assert [one["kind"] for one in listed] == ["origin"] * 4
    school = next(one["vantage"] for one in listed if one["confidence"] == "probable")
    shown = run("history", *kept, "show", "1", cwd=desk.folder)
    assert "very probably intercepted" in shown.stdout
    assert run("diff", "1", "3", *kept, cwd=desk.folder).stdout == "Nothing changed from run 1 to run 3.\n"
    dossier = run("dossier", *kept, "--vantage", school, "--format", "json", cwd=desk.folder)
    assert (dossier.returncode, school in dossier.stdout) == (0, True), dossier.stderr
    page = run("history", *kept, "show", "1", "--format", "html", cwd=desk.folder)
    assert (page.returncode, school in page.stdout) == (0, True)


def test_nothing_about_a_person_is_kept(desk: Desk) -> None:
    """No address, account or User-Agent is in any output or in the history, and no text for people calls a student."""
    written = b""
    for form in ("table", "json", "jsonl", "html", "ecs", "ocsf", "cef", "syslog"):
        for mode in ((), ("--by-network", "--network-key", "key")):
            done = desk.judge(*mode, "--output-format", form, "-v", "--history", "runs.sqlite")
            assert done.returncode == 1, done
            written += (done.stdout + done.stderr).encode()
    written += b"".join(path.read_bytes() for path in desk.folder.glob("runs.sqlite*"))
    for secret in (SCHOOL, HOME, HOTEL, "192.0.2", "2001:db8:7", "pupil-", "family-", "guest-"):
        assert secret.encode() not in written
    for agent in AGENTS:
        assert agent not in written
        assert agent[12:50] not in written
    assert "student" not in (desk.judge("-v").stdout + desk.by_network("-v").stdout).lower()


def test_a_log_that_cannot_be_used(desk: Desk) -> None:
    """An empty log, one of another program, and one of another form end with 3 and say which."""
    (desk.folder / "empty.log").write_bytes(b"")
    (desk.folder / "other.log").write_bytes(b'127.0.0.1 - - [30/Nov/2026] "GET / HTTP/1.1" 200\n' * 50)
    for log, form in (("empty.log", "nginx"), ("other.log", "nginx"), ("detector.log", "haproxy")):
        done = desk.judge(log=log, form=form)
        assert (done.returncode, done.stdout) == (3, "")
        assert log in done.stderr
        assert f"--format {form}" in done.stderr
    assert "line 1 (no JSON object), line 2" in desk.judge(log="other.log").stderr


def test_a_device_is_no_log(desk: Desk) -> None:
    """A device, which may never end, is refused at once."""
    done = desk.judge(log=os.devnull)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{os.devnull}: is a device" in done.stderr


def test_some_unreadable_lines_are_named_and_cost_nothing_else(desk: Desk) -> None:
    """A few broken lines are named by number, and the rest is assessed."""
    with (desk.folder / "detector.log").open("ab") as log:
        log.write(b'{"user_agent":"x\0"}\n' + b"\xff" * 100_000 + b"\n" + haproxy_line(*OWN, None, CHROME))
    done = desk.judge()
    assert done.returncode == 1
    assert "3 of 57 lines of detector.log cannot be read: line 55 (no JSON object), line 56 (longer" in done.stderr


def test_the_documented_lines_are_read(desk: Desk) -> None:
    """The lines of JSON on the page are what it says: two people behind one interceptor."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "origin-logs.md").read_text("utf-8")
    (desk.folder / "page.jsonl").write_text(page.partition("```json\n")[2].partition("```")[0], "utf-8")
    done = desk.judge("--json", "--fail-on", "possible", log="page.jsonl", form="jsonl")
    assert (done.returncode, done.stderr) == (
        1,
        "Note: The browser is contradicted for 2 of 2 accounts (16% to 100%): no more than single devices explain.\n",
    )
    report = Report.from_json(done.stdout)
    assert report.results[0].findings[-1].data["contradicting"] == 2
    assert f"{report.started:%H:%M:%S} {report.finished:%H:%M:%S}" == "09:00:00 09:00:01"
    fields = {line.split("`")[1] for line in page.splitlines() if line.startswith("| `") and "exit" not in line}
    assert fields >= {"user_agent", "client_hello", "ja4", "sec_ch_ua", "address", "account", "time"}
    assert {name for name in _JsonLine.__struct_fields__ if f"`{name}`" not in page} == set()


def test_standard_input(desk: Desk) -> None:
    """- reads standard input, and messages call it that."""
    data = (desk.folder / "detector.log").read_bytes() + b"x\n"
    done = run("origin", "judge", "-", "--format", "nginx", "--site", SITE, stdin=data)
    assert done.returncode == 1
    assert "1 of 55 lines of standard input cannot be read" in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--by-network",), "--network-key"),
        (("--by-network", "--network-key", "short"), "has 3 bytes"),
        (("--by-network", "--network-key", "missing"), "missing"),
        (("--output-format", "sarif"), "sarif"),
        (("--site", "not a host"), "not a host"),
        (("--json", "--output-format", "html"), "--output-format html"),
    ],
)
def test_wrong_options_are_named(options: tuple[str, ...], said: str, desk: Desk) -> None:
    """What cannot be done ends with 2 and names the option or file."""
    (desk.folder / "short").write_bytes(b"abc")
    done = desk.judge(*options)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_a_front_of_the_site_accuses_no_network(desk: Desk) -> None:
    """One hello in every network, and no browser with its own anywhere: at most possible, with the front named."""
    everywhere = [
        nginx_line(*PROXYS, AGENTS[seat % 2], address=f"10.{network}.0.{seat}", account=f"{network}-{seat}")
        for network in range(6)
        for seat in range(10)
    ]
    (desk.folder / "detector.log").write_bytes(b"".join(everywhere))
    for report in json.loads(desk.by_network("--json").stdout):
        assert report["confidence"] == "possible"
        assert "front-of-the-operator" in report["results"][0]["alternatives"]
