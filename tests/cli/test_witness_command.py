"""`detector witness` as an operator meets it: real processes, real signals."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from support.command import run, run_process

from detector import Detector, Endpoint, cli
from detector.pins.encoding import parse_witness_key
from detector.trust.envelope import key_identifier, public_key_of
from detector.trust.key_files import create_signing_key, load_signing_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from detector_testing import PrivatePKI

EXAM = "exam.example.edu"


@pytest.fixture
def files(pki: PrivatePKI, tmp_path: Path) -> dict[str, str]:
    """An operator's folder: certificate, key and two signing keys."""
    issued = pki.issue([EXAM])
    (tmp_path / "chain.pem").write_bytes(issued.chain_pem)
    (tmp_path / "key.pem").write_bytes(issued.key_pem)
    (tmp_path / "key.pem").chmod(0o600)
    for name in ("one", "two"):
        create_signing_key(tmp_path / f"{name}.pem")
    return {name: str(tmp_path / f"{name}.pem") for name in ("chain", "key", "one", "two")}


def arguments(files: dict[str, str], **changed: str) -> list[str]:
    """A right command line, with some files exchanged."""
    given = files | changed
    return ["--certificate", given["chain"], "--key", given["key"], "--signing-key", given["one"], "--port", "0"]


@contextlib.asynccontextmanager
async def serving(*arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, tuple[str, int], list[str]]]:
    """A running witness: its process, where it listens, the keys it prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "detector", "witness", "serve", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stdout is not None
        place, pins = [(await process.stdout.readline()).decode() for _ in range(2)]
        found = re.fullmatch(r"https://127\.0\.0\.1:(\d+)/\.well-known/tls-witness\n", place)
        assert found
        assert pins.startswith("witness = [")
        yield process, ("127.0.0.1", int(found[1])), re.findall(r'"(ed25519/[^"]+)"', pins)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def test_keygen(tmp_path: Path) -> None:
    """The key is written for its owner alone; the line printed is what a pin file takes; nothing is overwritten."""
    path = tmp_path / "signing.pem"
    done = run("witness", "keygen", "-o", str(path))
    assert (done.returncode, done.stderr) == (0, "")
    assert parse_witness_key(done.stdout.strip()) == public_key_of(load_signing_key(path))
    before = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    again = run("witness", "keygen", "-o", str(path))
    assert (again.returncode, again.stdout) == (2, "")
    assert "never overwritten" in again.stderr
    assert path.read_bytes() == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_serve(files: dict[str, str], settings_of: Callable[..., dict[str, Any]], number: signal.Signals) -> None:
    """It serves with two keys, prints what to pin, and ends quietly when it is asked to."""
    async with serving(*arguments(files), "--signing-key", files["two"]) as (process, address, pins):
        assert pins == [key_identifier(public_key_of(load_signing_key(files[name]))) for name in ("one", "two")]
        endpoint = Endpoint(host=EXAM, address=address, witness=tuple(map(parse_witness_key, pins[1:])))
        async with Detector(**settings_of(endpoint)) as subject:
            (result,) = (await subject.check()).results
        assert (result.verdict, result.assurance) == ("clean", "witnessed")
        process.send_signal(number)
        out, err = await process.communicate()
        assert (process.returncode, out, err) == (0, b"", b"")


async def test_a_taken_port_is_reported(files: dict[str, str]) -> None:
    """Two servers on one port: the second says so in one sentence."""
    async with serving(*arguments(files)) as (_, address, _):
        second = await asyncio.to_thread(run_process, "witness", "serve", *arguments(files), "--port", str(address[1]))
    assert (second.returncode, second.stdout) == (2, "")
    assert f"127.0.0.1:{address[1]}: cannot listen there" in second.stderr
    assert "Traceback" not in second.stderr


def test_what_cannot_be_served_is_reported(
    files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each message names the file and what is wrong with it."""
    other = ec.generate_private_key(ec.SECP256R1())
    encrypted, junk = tmp_path / "encrypted.pem", tmp_path / "junk.pem"
    encrypted.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    junk.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    cases = [
        ({"chain": str(tmp_path / "none.pem")}, "none.pem: cannot be read"),
        ({"chain": files["key"]}, "key.pem: no PEM certificate"),
        ({"chain": str(junk)}, "junk.pem: no PEM certificate"),
        ({"key": files["chain"]}, "chain.pem: no PEM private key"),
        ({"key": files["two"]}, "two.pem: not the key of the first certificate"),
        ({"key": str(encrypted)}, "encrypted.pem: encrypted with a passphrase"),
        ({"one": files["key"]}, "key.pem: not an Ed25519 key"),
    ]
    for changed, message in cases:
        assert cli.run(["witness", "serve", *arguments(files, **changed)]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert message in err


def test_number_of_signing_keys(files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """None, the same twice, and three are refused."""
    with_key = arguments(files)
    without = with_key[:4]
    for given in (
        without,
        [*with_key, "--signing-key", files["one"]],
        [*with_key, "--signing-key", files["two"], "--signing-key", files["two"]],
    ):
        assert cli.run(["witness", "serve", *given]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert "--signing-key" in err


@pytest.mark.parametrize("limit", ["connections", "connections=0", "connections=many", "idle=nan", "colour=1"])
def test_a_limit_that_cannot_be(limit: str, files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """Refused, with the names of those there are."""
    assert cli.run(["witness", "serve", *arguments(files), "--limit", limit]) == 2
    out, err = capsys.readouterr()
    assert (out, f"{limit}: is not a limit" in err, "patience" in err) == ("", True, True)


async def test_asking_a_witness_does_not_load_what_serves_one(files: dict[str, str], tmp_path: Path) -> None:
    """Neither importing the package nor a check that asks a witness imports aiohttp; serving does."""
    async with serving(*arguments(files)) as (_, address, pins):
        pin_file = tmp_path / "pins.toml"
        pin_file.write_text(
            f'schema = 1\nname = "t"\n[[endpoint]]\nhost = "{EXAM}"\n'
            f'address = "{address[0]}:{address[1]}"\nwitness = "{pins[0]}"\n'
        )
        program = (
            "import sys, detector.cli; code = detector.cli.run(sys.argv[1:]); "
            "print(code, sorted(name for name in sys.modules if name.partition('.')[0] == 'aiohttp'))"
        )
        command = ("check", "--pins", str(pin_file), "--proxy", "none", "--offline", "--format", "json")
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", program, *command],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert '"witnessed"' in done.stdout
    assert done.stdout.splitlines()[-1] == "0 []"
