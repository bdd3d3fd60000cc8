"""A client frozen by PyInstaller, and the stand-alone `detector`: built with the commands of docs/ship-it.md, and run.

Room: tests. Run by `uv run --group freeze pytest -n 0 -m frozen`; fails without PyInstaller. Servers are on loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
import pytest_asyncio
from detector_testing import serve_middlebox, serve_origin, serve_proxy
from support.command import clean_environment
from support.data_repository import DataRepository, newer, shipped_parts
from support.exam_world import EXAM

from detector import cli
from detector.exam.manifest import HOST_NAME
from detector.frozen import Host, contents
from detector.frozen.programs import CHILD_ARGUMENT
from detector.knowledge.data_set import canaries_folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from detector_testing import PrivatePKI

pytestmark = pytest.mark.frozen
LOOP: Final = "function FindProxyForURL() { return Array.prototype.indexOf.call({length: 2 ** 53 - 1}, 1) }"
"""A file that no limit of the script engine ends."""
NOT_IMPORTED: Final = {"detector.history.migrations.env"}
"""Modules that are collected for what they import; Alembic runs the files."""
PAGE: Final = Path(__file__).parents[2].joinpath("docs", "ship-it.md").read_text("utf-8")
CLIENT, DETECTOR = (command.split() for command in re.findall(r"^(?:uv run )?pyinstaller (--.*)$", PAGE, re.MULTILINE))
"""The options of the two commands on the page, with the program at the end."""
BUILDS: Final = {
    "exam-client": [*CLIENT[:-1], str(Path(__file__).with_name("frozen_client.py"))],
    "detector": [*DETECTOR[:-1], str(contents.PACKAGE.parent / DETECTOR[-1])],
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both programs, built at the same time."""
    folder = tmp_path_factory.mktemp("frozen")
    running = {}
    for name, options in BUILDS.items():
        command = [sys.executable, "-m", "PyInstaller", "--noconfirm", "--log-level", "WARN", *options]
        places = ("--distpath", folder / "dist", "--workpath", folder / name, "--specpath", folder / name)
        environment = {**os.environ, "PYINSTALLER_CONFIG_DIR": str(folder / f"{name} cache")}
        running[name] = subprocess.Popen([*command, *map(str, places)], env=environment, stderr=subprocess.PIPE)  # noqa: S603 - no shell, and the program is a test server of this repository
    for name, process in running.items():
        _, said = process.communicate()
        assert process.returncode == 0, said.decode()
        assert b'Hidden import "detector' not in said, f"{name}: {said.decode()}"
    return {"client": folder / "dist" / "exam-client" / "exam-client", "detector": folder / "dist" / "detector"}


class Town(NamedTuple):
    """An exam platform, and files that lead to it through a proxy that relays and through one that intercepts."""

    folder: Path
    trust: dict[str, str]

    def pac(self, name: str, script: str) -> str:
        """Write a PAC file."""
        path = self.folder / f"{name}.pac"
        path.write_text(script, "utf-8")
        return str(path)

    def options(self, pac: str) -> list[str]:
        """The command's options for the route that a PAC file names."""
        roots, logs = self.trust["roots"], self.trust["logs"]
        return ["--roots", roots, "--ct-logs", logs, "--proxy", f"pac:{self.folder / pac}.pac", "--offline"]


@pytest_asyncio.fixture
async def town(pki: PrivatePKI, tmp_path: Path) -> AsyncIterator[Town]:
    """The servers, and the files."""
    written, issued = pki.write(tmp_path), pki.issue([EXAM])
    town = Town(tmp_path, {"roots": str(written.roots), "logs": str(written.ct_logs)})
    pin = f'pins = ["sha256:{issued.spki_sha256.hex()}"]'
    (tmp_path / "pins.toml").write_text(
        f'schema = 1\n[[endpoint]]\nhost = "{EXAM}"\ncategory = "exam"\n{pin}\n', "utf-8"
    )
    (tmp_path / "policy.toml").write_text('schema = 1\ndeadline = 60\npins = ["pins.toml"]\n', "utf-8")
    async with contextlib.AsyncExitStack() as stack:
        upstream = {(EXAM, 443): (await stack.enter_async_context(serve_origin(issued))).address}
        honest = await stack.enter_async_context(serve_proxy(upstream=upstream))
        box = await stack.enter_async_context(serve_middlebox(pki.private_ca("School CA"), upstream=upstream))
        for name, port in (("honest", honest.port), ("intercepting", box.port)):
            town.pac(name, f"function FindProxyForURL(url, host) {{ return 'PROXY 127.0.0.1:{port}' }}")
        town.pac("loop", LOOP)
        yield town


async def run(program: Path, *arguments: str, **variables: str) -> tuple[int, bytes, bytes]:
    """Run a program to its end: exit code, standard output, standard error."""
    process = await asyncio.create_subprocess_exec(
        *(str(program), *arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**clean_environment(), **variables},
    )
    out, said = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out, said


def running(program: Path) -> list[str]:
    """The processes of a program."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            if process.joinpath("exe").readlink() == program:
                found.append(process.joinpath("cmdline").read_text().replace("\0", " "))
    return found


async def start_client(program: Path, town: Town, *pacs: str, gate_only: bool = False, env: Mapping[str, str]) -> Any:  # noqa: ANN401 - any JSON value
    """Run the client on these routes; what it found, after making sure that it was started once."""
    starts = town.folder / "starts"
    starts.unlink(missing_ok=True)
    given = {
        "trust": town.trust,
        "policy": str(town.folder / "policy.toml"),
        "pins": str(town.folder / "pins.toml"),
        "pacs": [str(town.folder / f"{pac}.pac") for pac in pacs],
        "url": f"https://{EXAM}/",
        "starts": str(starts),
        "gate_only": gate_only,
        "modules": [] if gate_only else [name for name in contents.hidden_imports() if name not in NOT_IMPORTED],
        "files": []
        if gate_only
        else [f"{folder}/{Path(file).name}" for file, folder in contents.data_files(canaries_folder())],
    }
    (town.folder / "given.json").write_text(json.dumps(given), "utf-8")
    code, out, said = await run(program, str(town.folder / "given.json"), **env)
    assert code == 0, said.decode()
    assert len(starts.read_text("utf-8").splitlines()) == 1
    assert running(program) == []
    return json.loads(out)


@pytest.mark.parametrize("variables", [{}, {"CLIENT_RUNS_CHILD_PROGRAMS": "1"}])
async def test_a_frozen_client_does_all_of_it(built: dict[str, Path], town: Town, variables: dict[str, str]) -> None:
    """Gate, check, guard, watch, PAC file and HTML; the application starts once, with and without child programs."""
    answer = await start_client(built["client"], town, "honest", "intercepting", env=variables)
    honest, intercepted = answer["found"]
    assert (answer["host"], answer["missing"]) == (Host.PYINSTALLER, [])
    assert {honest["route"], intercepted["route"]} == {"http-connect"}
    assert (honest["gate"], honest["verdict"], honest["guard"]) == ("allow", "clean", "200")
    assert (intercepted["gate"], intercepted["verdict"]) == ("block", "middleware")
    assert intercepted["guard"] != "200"
    assert (honest["watch"], intercepted["watch"]) == ("baseline", "appeared")
    assert all(found["html"].startswith("<!doctype html>") and EXAM in found["html"] for found in answer["found"])


@pytest.mark.parametrize("variables", [{}, {"CLIENT_RUNS_CHILD_PROGRAMS": "1"}])
async def test_a_hostile_proxy_file_starts_nothing_and_lets_nothing_pass(
    built: dict[str, Path], town: Town, variables: dict[str, str]
) -> None:
    """The client answers in time and ends, whether the endless script ran in a thread of it or in a child program."""
    answer = await start_client(built["client"], town, "loop", gate_only=True, env=variables)
    assert answer["found"] == "block"


def test_the_client_brings_no_library_under_the_gpl(built: dict[str, Path]) -> None:
    """Libraries that Python's own modules may be linked to: a vendor hands on what is in the folder."""
    brought = [path.name for path in built["client"].parent.rglob("*.so*")]
    assert any(name.startswith("libpython") for name in brought)
    assert [name for name in brought if name.startswith(("readline", "libreadline", "_gdbm", "libgdbm", "_dbm"))] == []


async def test_a_client_that_runs_no_child_programs_takes_the_argument_for_its_own(built: dict[str, Path]) -> None:
    """A user who knows the argument gets nothing by it: not a child program, and not more than the application."""
    code, out, said = await run(built["client"], CHILD_ARGUMENT, "detector.scan.worker")
    assert (code, out) == (1, b"")
    assert f"'{CHILD_ARGUMENT}'" in said.decode()


@pytest.mark.parametrize("rest", [(), ("os",), ("detector.__main__",), ("detector.scan.worker", "more")])
async def test_an_application_runs_no_other_module(built: dict[str, Path], rest: tuple[str, ...]) -> None:
    """Whatever else the argument names, neither that nor the application runs."""
    done = await run(built["client"], CHILD_ARGUMENT, *rest, CLIENT_RUNS_CHILD_PROGRAMS="1")
    assert done == (2, b"", b"")


async def test_the_stand_alone_program_lists_every_command(built: dict[str, Path]) -> None:
    """The version, the help of all commands, and the demonstration, from one file."""
    assert (await run(built["detector"], "--version"))[1].startswith(b"detector, version ")
    code, shown, said = await run(built["detector"], "--help")  # which imports all of them
    assert code == 0, said.decode()
    assert [name for name in cli.COMMANDS if f"  {name} ".encode() not in shown] == []
    code, out, said = await run(built["detector"], "demo")
    assert code == 0, said.decode()
    assert b"Both networks ran on loopback" in out


async def test_the_stand_alone_program_checks_through_a_proxy_file(built: dict[str, Path], town: Town) -> None:
    """PAC files in a process of its own, HTML, and a history, whose migrations are files."""
    page, history = town.folder / "report.html", str(town.folder / "history.sqlite")
    for pac, expected in (("honest", 0), ("intercepting", 1)):
        options = [
            *town.options(pac),
            "--pins",
            str(town.folder / "pins.toml"),
            "--history",
            history,
            "--deadline",
            "60",
        ]
        code, _, said = await run(built["detector"], "check", EXAM, *options, "--format", "html", "--output", str(page))
        assert (code, b"cannot" in said) == (expected, False), said.decode()
        assert EXAM in page.read_text("utf-8")
    code, listed, said = await run(built["detector"], "history", "--history", history)
    assert code == 0, said.decode()
    assert len(listed.splitlines()) == 2


async def test_the_stand_alone_program_ends_a_hostile_proxy_file(built: dict[str, Path], town: Town) -> None:
    """The process that evaluates it is killed: nothing of the program is left."""
    code, _, _ = await run(built["detector"], "check", EXAM, *town.options("loop"))
    assert code == 3
    assert running(built["detector"]) == []


async def test_the_stand_alone_program_scans_with_processes(built: dict[str, Path], town: Town) -> None:
    """Two workers, which are the program itself; none is left."""
    targets = town.folder / "targets.txt"
    targets.write_text("".join(f"{EXAM}\n{name}.example.net\n" for name in "abc"), "utf-8")
    options = ["--targets", str(targets), "--processes", "2", "--format", "jsonl", *town.options("honest")]
    code, out, said = await run(built["detector"], "scan", *options)
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 3, said.decode()
    assert {row["observation"]["route"] for row in rows if row["endpoint"]["host"] == EXAM} == {"http-connect"}
    assert running(built["detector"]) == []


async def test_a_browser_starts_the_stand_alone_program(built: dict[str, Path], town: Town) -> None:
    """The launcher that `exam manifest` writes is the program, and answers what a browser sends."""
    host_options = ["--policy", str(town.folder / "policy.toml"), *town.options("honest")]
    naming = ["--browser", "firefox", "--extension-id", "gate@exams.example", "--install"]
    home = {"HOME": str(town.folder)}
    code, _, said = await run(built["detector"], "exam", "manifest", *naming, *host_options, **home)
    assert code == 0, said.decode()
    manifest = town.folder / ".mozilla" / "native-messaging-hosts" / f"{HOST_NAME}.json"
    launcher = Path(json.loads(manifest.read_bytes())["path"])
    text = await asyncio.to_thread(launcher.read_text, "utf-8")
    assert f"exec {built['detector']} exam native-host" in text
    question = json.dumps({"id": 1, "task": "gate"}).encode()
    process = await asyncio.create_subprocess_exec(launcher, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(struct.pack("=I", len(question)) + question)
    (length,) = struct.unpack("=I", await process.stdout.readexactly(4))
    answer = json.loads(await process.stdout.readexactly(length))
    process.stdin.close()  # as a browser that closes the port
    assert (answer["id"], answer["action"], await process.wait()) == (1, "allow", 0)


async def test_the_stand_alone_program_updates_what_is_known(built: dict[str, Path], tmp_path: Path) -> None:
    """A signed set is fetched, verified again and used; the root that comes with it is read where none is named."""
    repository = DataRepository(newer(shipped_parts(), "ct_logs.json"))
    repository.write(tmp_path / "served")
    (tmp_path / "root.json").write_bytes(repository.first_root)
    rooted, home = ("--root", str(tmp_path / "root.json")), {"XDG_DATA_HOME": str(tmp_path / "home")}
    fetched = ("data", "update", "--from", str(tmp_path / "served"))
    code, _, said = await run(built["detector"], *fetched, **home)
    assert (code, b"marked as made for tests" in said) == (2, True), said.decode()
    for arguments in ((*fetched, *rooted), ("data", "verify", *rooted)):
        code, _, said = await run(built["detector"], *arguments, **home)
        assert code == 0, said.decode()
    _, shown, said = await run(built["detector"], "data", "show", "--json", **home)
    origins = {part["file"]: part["origin"] for part in json.loads(shown)["parts"]}
    assert (origins["ct_logs.json"], origins["roots.json"]) == ("updated", "shipped"), said.decode()
