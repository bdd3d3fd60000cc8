"""Measure what a look costs, beside other programs, and write docs/performance.md.

    python scripts/benchmark.py [--rounds 7] [--connections 1000,5000,20000] [--write docs/performance.md]
    python scripts/benchmark.py --quick

Starts nginx with a chain of three certificates on one core and runs the contenders in turn on another: this program's
engines and `Detector.scan`, a reference in Go (`benchmark/reference.go`), the standard library, openssl, sslscan, nmap,
SSLyze. CPU is that of the whole process and its children, less that of a run without handshakes where a contender makes
many. Only ratios within one run mean anything. Nothing passes or fails by time; a contender of our own that does not
run fails. uv may fetch SSLyze, which is run as a program. `--quick` takes a minute: one round, only what is installed.

Exit: 0 done, 1 a needed contender does not run, 2 bad usage or nginx is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cryptography
import OpenSSL
from benchmark import servers
from benchmark.measuring import BenchmarkError, Contender, Measured, measure, run, table

from detector import Detector, Endpoint
from detector.probe import native
from detector.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCRIPTS: Final = Path(__file__).resolve().parent
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
REFERENCE: Final = "Go crypto/tls"
ORIGIN_CORE, CLIENT_CORE = 0, 1
LEAVES: Final = 256
"""Ports of the origin, each with a leaf of its own."""
CONCURRENCY: Final = 16
"""Handshakes at once: enough that nobody waits for the other side."""
ROUND_TRIP_MS: Final = 50.0
STARTS: Final = 15
"""Alternations of warm and cold starts."""


def go_binary(folder: Path) -> str | None:
    """The reference, built; None where there is no Go."""
    if shutil.which("go") is None:
        return None
    binary = folder / "reference"
    settings = {**os.environ, "GO111MODULE": "off", "GOCACHE": str(folder / "go"), "GOFLAGS": "", "HOME": str(folder)}
    source = SCRIPTS / "benchmark" / "reference.go"
    subprocess.run(["go", "build", "-o", str(binary), str(source)], env=settings, check=True)  # noqa: S603, S607 - Debian's
    return str(binary)


def contenders(origin: servers.Origin, folder: Path, *, quick: bool) -> list[Contender]:
    """Everything that takes part here."""
    client = servers.pinned(CLIENT_CORE)
    count = 200 if quick else 2000

    def ours(mode: str) -> Contender:
        what = {
            "openssl": "our look with the reference engine",
            "native": "our look with the native engine",
            "scan": "look, public path, timestamps, verdict: endpoints seen before",
            "streams": "asyncio.open_connection; no chain, nothing checked but the signature",
            "memory-bio": "ssl.SSLObject; as above",
        }[mode]
        names = {"openssl": "pyOpenSSL engine", "native": "native engine", "scan": "Detector.scan"}
        return Contender(
            names.get(mode, f"stdlib {mode}"),
            lambda n: [
                *client,
                sys.executable,
                "-m",
                "benchmark.ours",
                mode,
                str(origin.folder),
                str(n),
                str(CONCURRENCY),
            ],
            count,
            what,
            needed=True,
        )

    found = [ours("openssl"), *([ours("native")] if native.is_usable() else []), ours("scan")]
    found.append(
        ours("scan")._replace(
            name="Detector.scan, first contact",
            handshakes=LEAVES + LEAVES // 2,
            base=LEAVES // 2,
            what="the same, every leaf for the first time",
        )
    )
    found += [ours("memory-bio"), ours("streams")]
    addresses, roots = str(origin.folder / "addresses"), str(origin.folder / "roots.pem")
    if go := go_binary(folder):
        found.append(
            Contender(
                REFERENCE,
                lambda n: [*client, go, addresses, str(n), str(CONCURRENCY)],
                count,
                "whole chain, keys hashed, nothing verified but the signature",
            )
        )
        found.append(
            Contender(
                f"{REFERENCE}, verifying",
                lambda n: [*client, go, addresses, str(n), str(CONCURRENCY), roots],
                count,
                "the same, and the chain verified",
            )
        )
    there = [f"127.0.0.1:{port}" for port in origin.ports]
    found.append(
        Contender(
            "openssl s_client",
            lambda _: [
                *client,
                "sh",
                "-c",
                f"openssl s_client -connect {there[0]} -servername {servers.HOST} -showcerts </dev/null",
            ],
            1,
            "one process for each handshake",
            base=None,
        )
    )
    if shutil.which("sslscan"):
        listed = folder / "targets"
        listed.write_text("\n".join(there[:16]) + "\n", "ascii")
        options = "--no-ciphersuites --no-fallback --no-renegotiation --no-compression --no-heartbleed --no-groups"
        found.append(
            Contender(
                "sslscan",
                lambda _: [*client, "sslscan", *options.split(), f"--targets={listed}"],
                16,
                "certificate only, as far as its options go; several handshakes for each target",
                base=None,
            )
        )
    if shutil.which("nmap"):
        ports = ",".join(map(str, origin.ports[:16]))
        found.append(
            Contender(
                "nmap ssl-cert",
                lambda _: [*client, "nmap", "-Pn", "-n", "--script", "ssl-cert", "-p", ports, "127.0.0.1"],
                16,
                "port scan and certificate",
                base=None,
            )
        )
    if not quick:
        found.append(
            Contender(
                "SSLyze",
                lambda _: [*client, "uvx", "--quiet", "--from", "sslyze", "sslyze", "--certinfo", *there[:16]],
                16,
                "--certinfo: its checks of the certificate, several handshakes for each target",
                base=None,
            )
        )
    return found


def memory(origin: servers.Origin, folder: Path, environment: Mapping[str, str], counts: Sequence[int]) -> list[str]:
    """Lines of Markdown: memory of handshakes in flight. Raises `BenchmarkError`."""
    lines = ["| handshakes in flight | engine | MiB more than before | completed afterwards |", "|---|---|---|---|"]
    for count in counts:
        for engine in ("openssl", *(("native",) if native.is_usable() else ())):
            with servers.helper("hold", str(count), core=ORIGIN_CORE) as port:
                command = [*servers.pinned(CLIENT_CORE), sys.executable, "-m", "benchmark.ours", f"hold-{engine}"]
                told = run([*command, str(origin.folder), str(count), "0", str(port)], environment, folder).told
            lines.append(f"| {count:,} | {engine} | {told['mib']:.0f} | {told['complete']:,.0f} |")
            print(lines[-1], file=sys.stderr)
    return lines


async def floor(port: int, hello: bytes, connections: int) -> float:
    """Milliseconds for as many connections at once that send a hello and wait for the flight: no client does less."""
    begun = time.perf_counter()

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(hello)
        octets = 0
        while octets < 1500:  # noqa: PLR2004 - a flight with two certificates has more
            octets += len(await reader.read(1 << 16))
        writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    return (time.perf_counter() - begun) * 1000


async def warm_starts(origin: servers.Origin, port: int, starts: int) -> list[tuple[float, float]]:
    """Pairs of milliseconds: the floor, and a warm check of eight endpoints, in turn."""
    engine = native.NativeHandshake(servers.HOST) if native.is_usable() else None
    hello = engine.start() if engine else b""
    endpoints = [Endpoint(host=servers.HOST, port=443 + n, address=("127.0.0.1", port)) for n in range(8)]
    found = []
    roots, logs = origin.folder / "roots.pem", origin.folder / "ct_logs.json"
    async with Detector(pins=[], roots=roots, logs=logs, route="none", offline=True) as detector:
        await detector.check(endpoints)
        for _ in range(starts if engine else 0):
            least = await floor(port, hello, len(endpoints))
            begun = time.perf_counter()
            report = await detector.check(endpoints)
            if report.verdict != "clean":
                raise BenchmarkError(f"the check over the relay was {report.verdict}")
            found.append((least, (time.perf_counter() - begun) * 1000))
    return found


COLD = """
import asyncio, sys
import detector
roots, logs, port = sys.argv[1:]
async def main():
    address = ("127.0.0.1", int(port))
    there = [detector.Endpoint(host="exam.example.edu", port=443 + number, address=address) for number in range(8)]
    return await detector.check(there, pins=[], roots=roots, logs=logs, route="none", offline=True)
assert asyncio.run(main()).verdict == "clean"
"""


def exam_start(origin: servers.Origin, folder: Path, environment: Mapping[str, str], starts: int) -> list[str]:
    """Lines of Markdown: eight endpoints over a relay that delays. Raises `BenchmarkError`."""
    with servers.helper("relay", str(origin.ports[0]), str(ROUND_TRIP_MS), core=ORIGIN_CORE) as port:
        warm = asyncio.run(warm_starts(origin, port, starts))
        files = (str(origin.folder / "roots.pem"), str(origin.folder / "ct_logs.json"))
        cold, bare = [], []
        for _ in range(starts):
            cold.append(run([sys.executable, "-c", COLD, *files, str(port)], environment, folder).wall * 1000)
            bare.append(run([sys.executable, "-c", "import asyncio"], environment, folder).wall * 1000)
    rows = {
        "floor: connect, send a hello, read the flight": [least for least, _ in warm],
        "warm `check()`": [took for _, took in warm],
        "what `check()` takes more than the floor beside it": [took - least for least, took in warm],
        "`python -c 'import asyncio'`": bare,
        "fresh process to verdict": cold,
    }
    lines = ["| eight endpoints, 50 ms for each answer | ms: median (least to most) |", "|---|---|"]
    for name, values in rows.items():
        if values:
            lines.append(f"| {name} | {statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f}) |")
    return lines


def versions() -> str:
    """What took part, in a sentence."""
    found = [
        f"detector {VERSION}",
        f"Python {platform.python_version()}",
        f"cryptography {cryptography.__version__}",
        f"pyOpenSSL {OpenSSL.__version__}",
    ]
    asked = (["go", "version"], ["openssl", "version"], ["nmap", "--version"], ["sslscan", "--version"])
    for command in ([servers.NGINX, "-v"], *asked):
        if shutil.which(command[0]):
            done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - as above
            words = (done.stdout + done.stderr).strip().splitlines()
            found.append(words[0].strip("\x1b[1;34m\t ") if words else command[0])
    return ", ".join(found)


def machine() -> str:
    """What it ran on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}"


def page(sections: Mapping[str, Sequence[str]], missed: Mapping[str, str], command: str) -> str:
    """The measured part of the page."""
    lines = [BEGIN, "", f"`{command}` on {machine()}. {versions()}.", ""]
    for title, rows in sections.items():
        lines += [f"### {title}", "", *rows, ""]
    lines += [f"Not run: {name}: {reason}" for name, reason in missed.items()]
    return "\n".join([*lines, END])


def write(target: Path, measured: str) -> None:
    """Put the measured part into a page between its marks. Raises `BenchmarkError` where there are none."""
    text = target.read_text("utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise BenchmarkError(f"{target} has no line {BEGIN} with {END} behind it; put them where the tables belong.")
    target.write_text(before + measured + after, "utf-8")


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="Rounds in alternation (default: 7).")
    parser.add_argument("--quick", action="store_true", help="One round of what is installed.")
    parser.add_argument("--connections", default="1000,5000,20000", metavar="N,...", help="Handshakes in flight.")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="Put the tables into this page.")
    given = parser.parse_args()
    counts = given.connections.split(",")
    if given.rounds < 1 or not all(count.isdecimal() and int(count) > 0 for count in counts):
        parser.error("--rounds and --connections take whole numbers of at least 1.")
    if given.write is not None and not given.write.is_file():
        parser.error(f"{given.write} is no file; --write puts tables into a page that is there.")
    given.connections = [200] if given.quick else [int(count) for count in counts]
    return given


def main() -> int:
    """Run as the module says."""
    given = arguments()
    if missing := servers.missing():
        print(f"Install {' and '.join(missing)} first (Debian: nginx-light, util-linux).", file=sys.stderr)
        return 2
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    os.environ["PYTHONPATH"] = str(SCRIPTS)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            with servers.origin(folder, leaves=2 * LEAVES, core=ORIGIN_CORE) as origin:
                taking_part = contenders(origin, folder, quick=given.quick)
                measured, missed = measure(taking_part, 1 if given.quick else given.rounds, environment, folder)
                sections = {
                    "CPU of a full handshake": table(measured, _reference(measured)),
                    "Memory of handshakes in flight": memory(origin, folder, environment, given.connections),
                    "Exam start": exam_start(origin, folder, environment, 3 if given.quick else STARTS),
                }
        text = page(sections, missed, f"python scripts/benchmark.py{' --quick' if given.quick else ''}")
        if given.write is not None:
            write(given.write, text)
    except BenchmarkError as error:
        print(f"The benchmark did not finish: {error}", file=sys.stderr)
        return 1
    print(text)
    return 0


def _reference(measured: Sequence[Measured]) -> str:
    return REFERENCE if any(each.name == REFERENCE for each in measured) else measured[0].name


if __name__ == "__main__":
    sys.exit(main())
