"""Configuration file, environment, completion, monitoring: how the command fits what administrators have."""

from __future__ import annotations

import configparser
import contextlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
from detector_testing import serve_middlebox, serve_origin
from prometheus_client.parser import text_string_to_metric_families
from support import command
from support.command import Done, in_thread
from support.system import program

from detector import cli
from detector.cli import detector as group
from detector.cli import settings
from detector.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from detector_testing import PrivatePKI

EXAM = "exam.example.edu"
EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


def run(*arguments: str, **environment: str) -> Done:
    return command.run(*arguments, env=environment)


def test_file_environment_and_command_line(tmp_path: Path) -> None:
    """The command line takes precedence over the environment, the environment before the file."""
    file = tmp_path / "detector.toml"
    file.write_text('[scan]\nformat = "csv"\nretries = 0\nport = [1]\n', "utf-8")
    words = ("--config", str(file), "scan", "127.0.0.1")
    assert run(*words).stdout.startswith("time,vantage")
    assert json.loads(run(*words, DETECTOR_SCAN_FORMAT="jsonl").stdout)["endpoint"]["port"] == 1
    assert run(*words, "--format", "text", DETECTOR_SCAN_FORMAT="jsonl").stdout.startswith("no answer")


def test_default_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a name the file in the user's configuration directory is read, never one in the current folder."""
    home = tmp_path / "tls-middleware-detector"
    home.mkdir()
    (home / "detector.toml").write_text('[scan]\nformat = "csv"\n', "utf-8")
    done = run("scan", "127.0.0.1:1", "--retries", "0", XDG_CONFIG_HOME=str(tmp_path), HOME=str(tmp_path))
    assert done.stdout.startswith("time,vantage")
    monkeypatch.chdir(home)
    assert not run("scan", "127.0.0.1:1", "--retries", "0", HOME=str(home), XDG_CONFIG_HOME="/x").stdout.startswith(
        "time"
    )


@pytest.fixture
def no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who is not in the system's list, as in containers: `~` cannot be expanded."""
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_home")
def test_a_user_without_a_home_has_no_default_file() -> None:
    """No directory, no file, no settings; every command works all the same."""
    assert settings.default_file() is None
    assert settings.defaults(None, group) == {}
    assert cli.run(["check", "127.0.0.1:1", "--offline", "--proxy", "none"]) == 3


@pytest.mark.usefixtures("no_home")
def test_what_needs_a_home_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """A sentence with what to do, exit 2."""
    assert cli.run(["check", "127.0.0.1:1", "--history", "default"]) == 2
    assert "There is no home directory" in capsys.readouterr().err
    assert cli.run(["exam", "manifest", "--browser", "firefox", "--extension-id", "x@example.org"]) == 2
    assert "set HOME" in capsys.readouterr().err


def test_a_usual_place_that_cannot_be_read_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Somebody else's home, as `sudo` may leave it: what stands there is not silently passed over."""

    def refuse(*_: object) -> NoReturn:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr("pathlib.Path.is_file", refuse)
    with pytest.raises(SettingsError, match=r"detector\.toml: cannot be read \(Permission denied\)\. Set HOME"):
        settings.defaults(None, group)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[scann]\n", "scann is not a command. Did you mean scan?"),
        ("[scan]\nrat = 1\n", "scan: rat is not an option. Did you mean rate?"),
        ("[scan]\nport = 443\n", "scan: port must be a list."),
        ("[scan]\nrate = [1]\n", "scan: rate must be one value, not a list."),
        ("[scan]\nstrict = 1\n", "scan: strict must be true or false."),
        ("[check]\ndeadline = true\n", "check: deadline must be a value, not true or false."),
        ('[check]\nroots = "\\u0000x"\n', "check: roots holds a NUL character."),
        ("scan = 1\n", "scan is not a table."),
        ("[pins.lern]\n", "pins: lern is not an option."),
        ("[scan\n", "is not TOML"),
        ("\xff", "is not TOML"),
        ("a = " + "[" * 5000, "is not TOML"),
    ],
)
def test_mistakes_are_refused_by_place(text: str, said: str, tmp_path: Path) -> None:
    """What no option is would silently not hold: refused, naming file, table and key."""
    file = tmp_path / "detector.toml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(SettingsError) as caught:
        settings.defaults(str(file), group)
    assert said in str(caught.value)
    assert str(file) in str(caught.value)


def test_wrong_values_are_click_s_to_refuse(tmp_path: Path) -> None:
    """A value out of range is refused as on the command line: exit 2, naming the option."""
    file = tmp_path / "detector.toml"
    file.write_text("[check]\ndeadline = -1\n", "utf-8")
    done = run("--config", str(file), "check", "127.0.0.1:1")
    assert done.returncode == 2
    assert "--deadline" in done.stderr
    assert run("--config", str(tmp_path / "none.toml"), "check").returncode == 2


def test_example_file_is_valid() -> None:
    """The example in the documents names options that exist."""
    assert settings.defaults(str(EXAMPLES / "detector.toml"), group)["scan"]["rate"] == "50.0"


def test_units_are_units() -> None:
    """The systemd example is well-formed, runs a command that exists, and knows our exit codes."""
    service = configparser.ConfigParser(interpolation=None)
    service.optionxform = str  # type: ignore[assignment,method-assign] # the documented way to keep case
    service.read(EXAMPLES / "detector-check.service", "utf-8")
    words = service["Service"]["ExecStart"].split()
    assert words[:2] == ["detector", "check"]
    assert run(*words[1:], "--help").returncode == 0
    assert service["Service"]["SuccessExitStatus"].split() == ["1", "3"]
    timer = configparser.ConfigParser(interpolation=None)
    timer.read(EXAMPLES / "detector-check.timer", "utf-8")
    assert timer["Timer"]["OnCalendar"]
    line = (EXAMPLES / "detector.cron").read_text("utf-8").splitlines()[-1].split(None, 6)
    assert line[6].startswith("detector check") or line[6].startswith("check")


def test_units_that_update() -> None:
    """The units and the cron line that update what is known run a command that exists, where the check reads it."""
    units = {}
    for name in ("detector-check.service", "detector-data.service", "detector-data.timer"):
        units[name] = configparser.ConfigParser(interpolation=None)
        units[name].optionxform = str  # type: ignore[assignment,method-assign] # the documented way to keep case
        units[name].read(EXAMPLES / name, "utf-8")
    service, check = units["detector-data.service"]["Service"], units["detector-check.service"]["Service"]
    cron = (EXAMPLES / "detector-data.cron").read_text("utf-8").splitlines()[-1].split(None, 6)[6]
    for line in (service["ExecStart"], cron):
        words = line.split()
        assert words[:3] == ["detector", "data", "update"]
        assert run(*words[1:], "--help").returncode == 0
    assert "SuccessExitStatus" not in service
    for key in ("DynamicUser", "User", "StateDirectory"):
        assert service[key] == check[key]
    assert service["Environment"] in check["Environment"].split()
    assert units["detector-data.timer"]["Timer"]["RandomizedDelaySec"]


@pytest.mark.lab
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """systemd finds nothing wrong in any unit of the examples."""
    units = [*EXAMPLES.glob("*.service"), *EXAMPLES.glob("*.timer")]
    assert len(units) == 4
    for unit in units:
        text = unit.read_text("utf-8").replace("ExecStart=detector ", f"ExecStart={sys.executable} -m detector ")
        (tmp_path / unit.name).write_text(text, "utf-8")
    done = subprocess.run(  # noqa: S603 - no shell; the units are files of this repository
        [program("systemd-analyze"), "verify", *map(str, sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    """The script of each shell, and the question it asks."""
    script = run("completion", shell)
    assert script.returncode == 0
    assert "_DETECTOR_COMPLETE" in script.stdout
    if shell == "bash":
        asking = {"_DETECTOR_COMPLETE": "bash_complete", "COMP_WORDS": "detector sc", "COMP_CWORD": "1"}
        asked = command.run_process(env=asking)
        assert "plain,scan" in asked.stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="Windows has no bash")
def test_completion_in_a_real_bash() -> None:
    """bash takes the script and defines the completion."""
    script = run("completion", "bash").stdout
    done = subprocess.run(  # noqa: S603 - bash
        [str(shutil.which("bash")), "--norc", "-c", f"{script}\ncomplete -p detector"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "_detector_completion" in done.stdout


@contextlib.asynccontextmanager
async def an_origin_and_a_filter(pki: PrivatePKI) -> AsyncIterator[tuple[int, int]]:
    """The ports of an exam platform and of a proxy that intercepts it."""
    async with serve_origin(pki.issue([EXAM])) as origin:
        upstream = {(EXAM, 443): origin.address}
        async with serve_middlebox(pki.private_ca("Evil | x=1 CA"), upstream=upstream) as box:
            yield origin.port, box.port


def test_nagios(pki: PrivatePKI, tmp_path: Path) -> None:
    """One line and the exit code of a plugin: OK, CRITICAL, WARNING, UNKNOWN, wrong usage included."""
    written = pki.write(tmp_path)
    trust = ("--roots", str(written.roots), "--ct-logs", str(written.ct_logs), "--offline")

    def plugin(*words: str, runs: Callable[..., Done] = run) -> tuple[int, str]:
        done = runs("nagios", *trust, *words)
        assert done.stdout.count("\n") == 1
        assert done.stderr == ""
        return done.returncode, done.stdout

    with in_thread(an_origin_and_a_filter(pki)) as (origin, proxy):
        direct = ("--connect-to", f"{EXAM}:443:127.0.0.1:{origin}", "--proxy", "none")
        proxied = ("--proxy", f"http://127.0.0.1:{proxy}")
        code, line = plugin(EXAM, *direct)
        assert (code, line[:6]) == (0, "TLS OK")
        assert "| clean=1 middleware=0 inconclusive=0 time=" in line
        code, line = plugin(EXAM, *proxied, "--fail-on", "possible", runs=command.run_process)
        assert (code, line[:12]) == (2, "TLS CRITICAL")
        assert line.count("|") == 1
        code, line = plugin(EXAM, *proxied)
        assert (code, line[:11]) == (1, "TLS WARNING")
    assert plugin("127.0.0.1:1")[0] == 3
    assert plugin("not a host")[0] == 3
    assert plugin("--deadline", "x")[0] == 3


def test_textfile_metrics(tmp_path: Path) -> None:
    """Metrics for a textfile collector, whole or not at all."""
    target = tmp_path / "tls.prom"
    words = (
        "check",
        "127.0.0.1:1",
        "--offline",
        "--vantage",
        'hall "7"\n',
        "--format",
        "prometheus",
        "--output",
        str(target),
    )
    assert run(*words).returncode == 3
    families = {f.name: f for f in text_string_to_metric_families(target.read_text("utf-8"))}
    verdicts = {s.labels["verdict"]: s.value for s in families["tls_detector_verdict"].samples}
    assert verdicts == {"clean": 0, "middleware": 0, "inconclusive": 1}
    assert families["tls_detector_endpoint"].samples[0].labels["vantage"] == 'hall "7"\n'
