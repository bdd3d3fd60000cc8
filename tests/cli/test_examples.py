"""The examples of the help run as printed, wherever that needs no network but loopback."""

from __future__ import annotations

import json
import plistlib
import shlex
import shutil
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from detector_testing import StaticLog, serve_origin
from detector_testing.pki import to_pem
from support.command import Done, in_thread
from support.command import run as run_command
from support.command_tree import EXAMPLES
from support.log_lines import nginx_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from detector_testing import PrivatePKI

EXAM, LMS, INTRANET = "exam.example.edu", "lms.example.org", "intranet.example.edu"
NOT_RUN = {
    "detector check": "probes the shipped endpoints",
    "detector --config detector.toml watch": "runs until it is stopped",
    "detector watch exam.example.edu --interval 30": "runs until it is stopped",
    "detector watch --duration 3600 --format jsonl -o events.jsonl": "runs for an hour",
    "detector watch exam.example.edu --metrics 9469": "runs until it is stopped",
    "detector scan --network 192.0.2.0/24 --port 443 --port 8443 --server-name exam.example.edu": "probes a network",
    "detector nagios --pins /etc/detector/pins --fail-on proven --deadline 20": "reads a file of the system",
    "detector exam native-host --policy policy.toml": "is started by a browser",
    "detector exam manifest --browser chrome --extension-id abcdefghijklmnopabcdefghijklmnop --install": "installs",
    "detector ct watch --pins pins.toml --ct-logs log_list.json --state ct.json": "runs until it is stopped",
    "detector ct watch --pins pins.toml --ct-logs log_list.json --state ct.json --once": "reads the logs of a list",
    "detector ct watch --pins pins.toml --ct-logs log_list.json --state ct.json --once --json": "reads a list",
    "detector ct watch --pins pins.toml --log https://elm.ct.example/2026=elm.pem --state ct.json --from-start": "asks",
    "detector fleet scheduler --tls fleet --port 8786": "runs until it is stopped",
    "detector data update --from https://data.example.org/knowledge": "fetches from a server",
    "detector data update --vendor acme": "fetches from a server",
    "detector data update --from /media/usb/knowledge": "reads a file of the system",
    "detector data verify": "verifies what is installed",
    "detector outbox send --report-to https://collect.example.org --report-receipt-key collector.pem": "asks",
    "detector outbox send --refused --report-to https://collect.example.org --report-receipt-key collector.pem": "asks",
    "detector data export /media/usb/knowledge": "writes outside the folder",
}
SERVERS = ("witness serve", "fleet worker", "fleet scan", "locate")
"""Commands that need a scheduler, a port, or routers, whose own tests have them."""
CODES = {
    "detector verify evidence.json --key ed25519/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= --json": (3,),
    "detector examine --report report.json": (3,),
    "detector roots audit --certificates exported.pem -v": (3,),
    "detector roots audit": (0, 1, 3),
    "detector roots audit --json -o audit.json": (0, 1, 3),
}
"""Exit codes that are not 0: nothing is signed with that key, a report proves no key, the roots are unknown, or the
machine decides."""


def runnable() -> Iterator[str]:
    for path, example in dict.fromkeys(EXAMPLES):
        if example not in NOT_RUN and not path.removeprefix("detector ").startswith(SERVERS):
            yield example


@pytest.fixture(scope="module")
def prepared(pki: PrivatePKI, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with every file that an example reads; a configuration file leads to a server on loopback."""
    folder = tmp_path_factory.mktemp("examples")
    written = pki.write(folder)
    issued = pki.issue([EXAM, LMS, INTRANET])
    (folder / "chain.pem").write_bytes(b"".join(map(to_pem, issued.chain)))
    report = {"hostname": EXAM, "served-certificate-chain": [to_pem(one).decode() for one in issued.chain]}
    (folder / "report.json").write_text(json.dumps(report), "utf-8")
    domains = {host: {"TSKPublicKeyHashes": [f"{'A' * 43}="]} for host in (EXAM, LMS)}
    (folder / "Info.plist").write_bytes(plistlib.dumps({"TSKConfiguration": {"TSKPinnedDomains": domains}}))
    (folder / "headers.txt").write_text(f'Public-Key-Pins: pin-sha256="{"A" * 43}="; max-age=5184000\n', "utf-8")
    own = nginx_line((0x0A0A, 0x1301, 0x1302, 0x1303), (0x0A0A, 29, 23), b"Mozilla/5.0 (X11) Chrome/150.0.0.0")
    (folder / "detector.log").write_bytes(
        b"".join(own.replace(b"192.0.2.7", b"192.0.2.%d" % seat) for seat in range(9))
    )
    (folder / "secret").write_bytes(bytes(range(32)))
    (folder / "exported.pem").write_bytes(written.roots.read_bytes())
    (folder / "hosts.txt").write_text(f"{EXAM}\nhttps://{LMS}/login\n", "utf-8")
    (folder / "hosts.csv").write_text(f"host,category\n{EXAM},exam\n", "utf-8")
    log = StaticLog.create("elm")
    (log.write(folder / "mirror" / "elm").parent.parent / "elm.pem").write_bytes(log.key_pem)
    with in_thread(serve_origin(issued)) as origin:
        rules = [f"{host}:{port}:127.0.0.1:{origin.port}" for host in (EXAM, LMS, INTRANET) for port in (443, 8443)]
        trust = f"roots = {json.dumps(str(written.roots))}\nct_logs = {json.dumps(str(written.ct_logs))}\n"
        network = f'{trust}connect_to = {json.dumps(rules)}\nproxy = "none"\noffline = true\n'
        waiting = 'outbox = "waiting"\n'
        tables = {"examine": trust, "verify": trust, "dossier": trust}
        tables |= dict.fromkeys(("check", "nagios", "scan", "exam.gate", "exam.manifest", "pins.learn"), network)
        tables |= dict.fromkeys(("outbox.status", "outbox.list", "outbox.drop"), waiting)
        config = "".join(f"[{name}]\n{content}" for name, content in tables.items())
        (folder / "detector.toml").write_text(config, "utf-8")
        for line in PREPARATION:
            done = run(line, folder)
            assert done.returncode == 0, (line, done)
        (folder / "policy.toml").write_text(f'schema = 1\npins = ["pins.toml"]\nendpoints = ["{EXAM}"]\n', "utf-8")
        key = load_pem_private_key((folder / "key.pem").read_bytes(), None).public_key()
        (folder / "recorder.pem").write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        shutil.copy(folder / "config.xml", folder / "network_security_config.xml")
        for name in ("monday.json", "tuesday.json"):
            shutil.copy(folder / "evidence.json", folder / name)
        shutil.copy(folder / "today.json", folder / "yesterday.json")
        yield folder


PREPARATION = (
    f"detector pins learn {EXAM} {LMS} --category exam -o pins.toml",
    "detector pins export pins.toml --to android --leave-out category --leave-out identity -o config.xml",
    "detector witness keygen -o key.pem",
    f"detector check {EXAM} --history runs.sqlite --vantage room-12 --json -o today.json",
    f"detector check {EXAM} --history runs.sqlite --vantage room-12 --bundle evidence.json --signing-key key.pem",
)


def run(line: str, folder: Path) -> Done:
    words = shlex.split(line)
    return run_command(*words[1:], cwd=folder, env={"DETECTOR_CONFIG": str(folder / "detector.toml")})


@pytest.mark.parametrize("example", list(runnable()))
def test_examples_run(example: str, prepared: Path, tmp_path: Path) -> None:
    """In a folder with the files that it names, an example ends as on a clean network."""
    folder = tmp_path / "folder"
    shutil.copytree(prepared, folder)
    done = run(example.removeprefix('eval "$(').removesuffix(')"'), folder)
    assert done.returncode in CODES.get(example, (0,)), done


def test_what_is_not_run_exists() -> None:
    """The table of examples that are not run names examples."""
    assert {example for _, example in EXAMPLES} >= NOT_RUN.keys() | CODES.keys()
