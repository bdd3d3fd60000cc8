"""`detector data` as an administrator meets it: what it says, its exit codes, and that nothing else fetches."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from detector_testing import serve_origin
from support.command import Done, in_thread, run, run_process
from support.data_hosts import HOST, serving
from support.data_repository import PINS, DataRepository, edited, newer, shipped_parts

from detector.knowledge import store
from detector.update.bootstrap import SHIPPED

if TYPE_CHECKING:
    from pathlib import Path

    from detector_testing import PrivatePKI

EXAM = "exam.example.edu"


class Site:
    """A repository in a directory, and a person with a home directory of their own."""

    def __init__(self, folder: Path) -> None:
        self.repository = DataRepository(newer(shipped_parts(), "ct_logs.json"))
        self.home = folder / "home"
        self.served = folder / "served"
        self.root = folder / "root.json"
        self.root.write_bytes(self.repository.first_root)

    def data(self, *arguments: str) -> Done:
        """Run a command on this person's sets, with the root of this repository where it takes one."""
        self.repository.write(self.served)
        root = () if arguments[0] == "show" else ("--root", str(self.root))
        return run("data", *arguments, *root, env={"XDG_DATA_HOME": str(self.home)})

    def update(self, *arguments: str) -> Done:
        """Update from the directory."""
        return self.data("update", "--from", str(self.served), *arguments)

    @property
    def folder(self) -> Path:
        """Where this person's sets are installed."""
        (folder,) = self.home.glob("*/knowledge")
        return folder


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_update_show_verify_export(site: Site, tmp_path: Path) -> None:
    """A set is fetched, shown with its ages and origins, verified, and written for a closed network that takes it."""
    done = site.update()
    assert done.returncode == 0, done
    assert "Updated to set 1-" in done.stdout
    assert "Already the newest" in site.update().stdout
    shown = site.data("show")
    assert shown.returncode == 0
    assert "updated" in next(line for line in shown.stdout.splitlines() if line.startswith("ct_logs.json"))
    assert "shipped" in next(line for line in shown.stdout.splitlines() if line.startswith("roots.json"))
    verified = site.data("verify")
    assert verified.returncode == 0
    assert "is what its publisher signed" in verified.stdout
    assert site.data("export", str(tmp_path / "usb")).returncode == 0
    shutil.rmtree(site.home)
    assert site.data("update", "--from", str(tmp_path / "usb")).returncode == 0


def test_json(site: Site) -> None:
    """Programs read the same as JSON."""
    updated = json.loads(site.update("--json").stdout)
    assert (updated["installed"], updated["version"]) == (True, 1)
    shown = json.loads(site.data("show", "--json").stdout)
    assert shown["set"] == updated["set"]
    parts = {part["kind"]: part for part in shown["parts"]}
    assert (parts["logs"]["origin"], parts["logs"]["version"], parts["logs"]["age_days"]) == ("updated", "2", 0)
    assert parts["roots"]["origin"] == "shipped"
    verified = json.loads(site.data("verify", "--json").stdout)
    assert {role["role"] for role in verified["roles"]} == {"root", "timestamp", "snapshot", "targets"}


def test_pins_of_a_vendor(site: Site) -> None:
    """A vendor's pins are shown with their age, and are a source of pins for other commands until it is forgotten."""
    site.repository.add_vendor("acme", {"pins/acme/exam.toml": PINS})
    site.repository.publish()
    assert "With the pins of acme." in site.update("--vendor", "acme").stdout
    pins = json.loads(site.data("show", "--json").stdout)["parts"][-1]
    assert (pins["kind"], pins["origin"], pins["date"]) == ("pins", "vendor:acme", "2026-11-01")
    env = {"XDG_DATA_HOME": str(site.home)}
    assert run("pins", "lint", "vendor:acme", env=env).returncode == 0
    assert site.update("--forget-vendor", "acme").returncode == 0
    assert run("pins", "lint", "vendor:acme", env=env).returncode == 2


def test_show_without_a_set(site: Site) -> None:
    """Without an update what the package ships is shown."""
    shown = site.data("show")
    assert shown.returncode == 0
    assert "No set is installed" in shown.stdout


def test_show_of_a_folder_that_does_not_exist(site: Site, tmp_path: Path) -> None:
    """A folder that was named and does not exist is an error: the shipped set would look like an installed one."""
    missing = tmp_path / "missing"
    shown = run("data", "show", "--data", str(missing), env={"XDG_DATA_HOME": str(site.home)})
    assert (shown.returncode, shown.stdout) == (2, "")
    assert f"--data {missing}: is no folder." in shown.stderr


def test_show_damage(site: Site) -> None:
    """A damaged set is named, left aside, and what serves instead is shown."""
    site.update()
    damaged = next((site.folder / "sets").iterdir()) / "ct_logs.json"
    damaged.write_bytes(b"{}")
    shown = site.data("show", "--json")
    assert shown.returncode == 0
    (warning,) = json.loads(shown.stdout)["warnings"]
    assert warning.startswith(f"{damaged}: damaged")
    assert "Left aside:" in site.data("show").stdout
    assert site.data("verify").returncode == 3


def test_exit_codes(site: Site) -> None:
    """2 for arguments, 3 for what cannot be fetched or is held back, 74 for a full disk; each says what to do."""
    assert site.data("update").returncode == 2  # no repository is known
    assert site.data("update", "--from", "http://data.example.org/").returncode == 2
    assert site.data("verify").returncode == 2  # no set is installed
    assert site.update("--vendor", "nobody").returncode == 2
    assert site.update().returncode == 0
    site.repository.parts["ct_logs.json"] = edited(site.repository.parts["ct_logs.json"], logs=[])
    site.repository.parts = newer(site.repository.parts, "ct_logs.json", version=3)
    site.repository.publish()
    held = site.update()
    assert (held.returncode, held.stdout) == (3, "")
    assert "are lost and not listed as removed" in held.stderr
    assert "The set in use stays." in held.stderr
    (site.served / "metadata" / "timestamp.json").write_bytes(b"{}")
    site.repository.files["metadata/timestamp.json"] = b"{}"
    refused = site.update()
    assert refused.returncode == 3
    assert "Traceback" not in refused.stderr


def test_the_shipped_root_is_refused_unless_asked(site: Site) -> None:
    """The root that comes with the package is for tests: nobody gets data that it signed without asking for it."""
    site.repository.write(site.served)
    refused = run("data", "update", "--from", str(site.served), env={"XDG_DATA_HOME": str(site.home)})
    assert refused.returncode == 2
    assert "made for tests" in refused.stderr
    assert "--allow-test-root" in refused.stderr
    allowed = run(
        "data", "update", "--from", str(site.served), "--allow-test-root", env={"XDG_DATA_HOME": str(site.home)}
    )
    assert allowed.returncode == 3  # this repository begins with another root
    assert "not signed by enough of the keys" in allowed.stderr
    assert SHIPPED.is_file()


def test_a_missing_extra_is_named(site: Site, tmp_path: Path) -> None:
    """Without python-tuf, what needs it says which extra to install, and `show` works."""
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "tuf.py").write_text("raise ModuleNotFoundError('gone', name='tuf')\n")
    env = {"PYTHONPATH": str(tmp_path / "without"), "XDG_DATA_HOME": str(site.home)}
    site.repository.write(site.served)
    missing = run_process("data", "update", "--from", str(site.served), env=env)
    assert missing.returncode == 2
    assert "'update'" in missing.stderr
    assert run_process("data", "show", env=env).returncode == 0


def test_over_the_network(site: Site, pki: PrivatePKI, tmp_path: Path) -> None:
    """The command goes through the guard with the options of others, and finds the repository again by itself."""
    written = pki.write(tmp_path)
    with in_thread(serve_origin(pki.issue([HOST]), handler=serving(site.repository))) as origin:
        trust = ("--roots", str(written.roots), "--ct-logs", str(written.ct_logs), "--proxy", "none")
        network = (*trust, "--connect-to", f"{HOST}:443:127.0.0.1:{origin.port}")
        done = site.data("update", "--from", f"https://{HOST}/knowledge", *network)
        assert done.returncode == 0, done
        again = site.data("update", *network)
        assert (again.returncode, "Already the newest" in again.stdout) == (0, True), again
    assert store.open_installed(site.folder).serving is not None


def test_nothing_is_fetched_by_a_check(site: Site, pki: PrivatePKI, tmp_path: Path) -> None:
    """A check and the gate use an installed set, and ask its repository for nothing."""
    written = pki.write(tmp_path)
    with in_thread(serve_origin(pki.issue([HOST, EXAM]), handler=serving(site.repository))) as origin:
        trust = ("--roots", str(written.roots), "--ct-logs", str(written.ct_logs), "--proxy", "none")
        rules = [f"--connect-to={host}:443:127.0.0.1:{origin.port}" for host in (HOST, EXAM)]
        assert site.data("update", "--from", f"https://{HOST}/knowledge", *trust, *rules).returncode == 0
        asked = len(origin.requests)
        env = {"XDG_DATA_HOME": str(site.home)}
        checked = run("check", EXAM, *trust, *rules, "--offline", "--json", env=env)
        logs = next(part for part in json.loads(checked.stdout)["knowledge"] if part["kind"] == "catalogue")
        assert logs["name"] == "shipped"
        run("exam", "gate", EXAM, *trust, *rules, "--offline", env=env)
        assert [request.target for request in origin.requests[asked:] if "knowledge" in request.target] == []
