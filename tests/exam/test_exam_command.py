"""`detector exam` as programs meet it: real processes, JSON in and out, exit codes, what stands on which stream."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import jsonschema  # type: ignore[import-untyped] # its stubs are a package of their own, for two calls here
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from detector_testing import serve_origin
from support import command
from support.boxes import FORGE, PASS, fickle
from support.exam_world import ENVIRONMENT, EXAM, HOST, Files

from detector import bundle
from detector.exam.native_messaging import TO_BROWSER_MAX, FrameReader, frame
from detector.exam.protocol import protocol_schema

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from detector_testing import PrivatePKI

EXTENSION_ID = "oeojffjfhmphjhhfhbhcgjaomplidhie"


@pytest.fixture
def files(tmp_path: Path, pki: PrivatePKI) -> Files:
    return Files(tmp_path, pki)


@contextlib.asynccontextmanager
async def clean(files: Files) -> AsyncIterator[None]:
    """The exam platform itself at the end of the line."""
    async with serve_origin(files.issued) as origin:
        files.point_to(origin.port)
        yield


@contextlib.asynccontextmanager
async def decrypted(files: Files, pki: PrivatePKI) -> AsyncIterator[None]:
    """Somebody with a certificate of his own making there."""
    async with serve_origin(pki.private_ca("School CA").issue([EXAM])) as forger:
        files.point_to(forger.port)
        yield


async def run(*words: str, sent: bytes = b"", folder: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run `detector exam …` in a process of its own."""
    return await asyncio.to_thread(
        subprocess.run,
        [*HOST, *words],
        input=sent,
        capture_output=True,
        check=False,
        timeout=60,
        cwd=folder,
        env=ENVIRONMENT,
    )


def answer_of(done: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    """The one line of JSON on standard output, checked against the schema."""
    (line,) = done.stdout.splitlines()
    answer: dict[str, Any] = json.loads(line)
    jsonschema.validate(answer, protocol_schema())
    return answer


class TestGate:
    async def test_allow_is_exit_0(self, files: Files) -> None:
        """A clean network: one line of JSON, nothing else anywhere."""
        async with clean(files):
            done = await run("gate", *files.options)
        assert (done.returncode, done.stderr) == (0, b"")
        answer = answer_of(done)
        assert (answer["action"], answer["policy"], answer["evidence"]) == ("allow", "finals", None)

    async def test_block_is_exit_3(self, files: Files, pki: PrivatePKI) -> None:
        """A decrypted one is not confirmed, which is no accusation: the message is there to be shown."""
        async with decrypted(files, pki):
            done = await run("gate", *files.options)
        assert done.returncode == 3
        assert answer_of(done)["message"].startswith(f"The exam server could not be confirmed: {EXAM}.")

    @pytest.mark.parametrize(
        ("policy", "given", "languages", "language"),
        [
            ("", (), [], "en"),
            ('language = "de"', (), [], "de"),
            ('language = "de"', ("--language", "en-GB"), [], "en"),
            ("", ("--language", "de-CH"), [], "de"),
            ('language = "de"', (), ["en-US", "de"], "en"),
            ("", ("--language", "de"), ["fr", "x" * 100], "de"),
            ("", (), ["fr", "de-AT", "en"], "de"),
        ],
    )
    async def test_language(  # noqa: PLR0913, PLR0917 - a table
        self, files: Files, tmp_path: Path, policy: str, given: tuple[str, ...], languages: list[str], language: str
    ) -> None:
        """The first known one of the request, else that of the option, else of the policy, else English."""
        with files.policy.open("a", encoding="utf-8") as text:
            text.write(policy)
        request = tmp_path / "request.json"
        request.write_text(json.dumps({"languages": languages}), "utf-8")
        with socket.create_server(("127.0.0.1", 0)) as closed:
            files.point_to(closed.getsockname()[1])
        done = await run("gate", *files.options, *given, "--request", str(request))
        answer = answer_of(done)
        begins = {"en": "The exam server could not be confirmed", "de": "Der Prüfungsserver konnte nicht bestätigt"}
        assert (answer["language"], answer["message"][: len(begins[language])]) == (language, begins[language])
        (reason,) = answer["reasons"]
        assert reason["sentence"] == "No certificate was seen; an outage is not evidence of interception."

    async def test_unknown_language(self, files: Files) -> None:
        """Refused before anything is probed, with the languages there are."""
        done = await run("gate", *files.options, "--language", "xx")
        assert (done.returncode, done.stdout) == (2, b"")
        assert b"--language" in done.stderr
        assert b"Choose one of en, de" in done.stderr

    async def test_outage_is_exit_3(self, files: Files) -> None:
        """An outage confirms nothing either."""
        with socket.create_server(("127.0.0.1", 0)) as closed:
            files.point_to(closed.getsockname()[1])
        done = await run("gate", *files.options)
        assert (done.returncode, answer_of(done)["action"]) == (3, "block")

    @pytest.mark.parametrize("policy", ["on_unconfirmed = 'warn'", "on_stale_pin = 'warn'"])
    async def test_warn_is_exit_0(self, files: Files, pki: PrivatePKI, policy: str) -> None:
        """What is let through with a warning is let through."""
        files.policy.write_text(f'schema = 1\ndeadline = 20\npins = ["pins.toml"]\n{policy}\n', "utf-8")
        presented = pki.issue([EXAM]) if "stale" in policy else pki.private_ca("School CA").issue([EXAM])
        async with serve_origin(presented) as origin:
            files.point_to(origin.port)
            done = await run("gate", *files.options)
        answer = answer_of(done)
        assert (done.returncode, answer["action"]) == (0, "warn")
        assert "You can go ahead with the exam" in answer["message"]

    @pytest.mark.parametrize(
        ("policy", "given", "probes"),
        [("", (), 2), ("probes = 1", (), 1), ("probes = 1", ("--probes", "3"), 3), ("", ("--probes", "1"), 1)],
    )
    async def test_options_take_precedence_over_the_policy(
        self, files: Files, policy: str, given: tuple[str, ...], probes: int
    ) -> None:
        """How often the exam platform is probed: twice, or as the policy says, or as the command line does."""
        with files.policy.open("a", encoding="utf-8") as text:
            text.write(policy)
        async with serve_origin(files.issued) as origin:
            files.point_to(origin.port)
            done = await run("gate", *files.options, *given)
        assert (done.returncode, origin.connections) == (0, probes)

    @pytest.mark.parametrize(("given", "code"), [((), 3), (("--route", "direct"), 0)])
    async def test_the_route_is_the_policys(self, files: Files, given: tuple[str, ...], code: int) -> None:
        """A key of the policy holds where the command line does not say otherwise, whatever the option's default."""
        with socket.create_server(("127.0.0.1", 0)) as closed, files.policy.open("a", encoding="utf-8") as text:
            text.write(f'route = "proxy"\nproxy = "http://127.0.0.1:{closed.getsockname()[1]}"\n')
        options = [word for word in files.options if word not in {"--proxy", "none"}]
        async with clean(files):
            done = await run("gate", *options, *given)
        assert done.returncode == code, done.stdout

    async def test_request_on_standard_input(self, files: Files) -> None:
        """A request chooses and its id comes back; what it asks for is in the answer."""
        request = {"id": "a b", "endpoints": [EXAM], "deadline": 20, "report": True, "evidence": True}
        async with clean(files):
            done = await run("gate", *files.options, "--request", "-", sent=json.dumps(request).encode())
        answer = answer_of(done)
        assert (answer["id"], done.returncode) == ("a b", 0)
        assert answer["report"]["results"][0]["assurance"] == "pinned"
        assert answer["evidence"]

    async def test_request_in_a_file(self, files: Files, tmp_path: Path) -> None:
        """Where standard input is taken, a file serves."""
        (tmp_path / "request.json").write_text('{"id": 1}')
        async with clean(files):
            done = await run("gate", *files.options, "--request", str(tmp_path / "request.json"))
        assert answer_of(done)["id"] == 1

    async def test_input_that_does_not_end_is_reported(self, files: Files) -> None:
        """A client that forgets to close the pipe is informed, and gets no decision."""
        files.policy.write_text('schema = 1\ndeadline = 0.2\npins = ["pins.toml"]\n')
        async with clean(files):
            process = await asyncio.create_subprocess_exec(
                *(*HOST, "gate", *files.options, "--request", "-"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=ENVIRONMENT,
            )
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdin.write(b"{}")
            async with asyncio.timeout(60):
                said, reported = await asyncio.gather(process.stdout.read(), process.stderr.read())
                assert await process.wait() == 2
            process.stdin.close()
        assert said == b""
        assert b"Close it after writing the request" in reported

    async def test_bundle_is_written_and_signed(self, files: Files, tmp_path: Path) -> None:
        """--bundle keeps the evidence, --signing-key signs it."""
        key = Ed25519PrivateKey.generate()
        path = tmp_path / "key.pem"
        path.touch(mode=stat.S_IRUSR | stat.S_IWUSR)
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        async with clean(files):
            done = await run("gate", *files.options, "--bundle", str(tmp_path / "b.json"), "--signing-key", str(path))
        assert done.returncode == 0
        (signer,) = bundle.read((tmp_path / "b.json").read_bytes()).signers
        assert signer.verifies

    @pytest.mark.parametrize(
        ("words", "reported"),
        [
            (("--policy", "absent.toml"), b"absent.toml"),
            (("--signing-key", "absent.pem"), b"absent.pem"),
            (("--request", "absent.json"), b"absent.json"),
            (("--bundle", "absent/b.json"), b"absent/b.json"),
            (("--format", "csv"), b"--format"),
        ],
    )
    async def test_bad_input_is_exit_2(self, files: Files, words: tuple[str, ...], reported: bytes) -> None:
        """What cannot be used is reported on stderr with its name; there is no answer and no traceback."""
        async with clean(files):
            done = await run("gate", *files.options, *words)
        assert (done.returncode, done.stdout) == (2, b"")
        assert reported in done.stderr
        assert b"Traceback" not in done.stderr

    @pytest.mark.parametrize("sent", [b"", b"no", b'{"task":"cancel"}', b'{"endpoints":["printer.local"]}'])
    async def test_bad_request_is_exit_2(self, files: Files, sent: bytes) -> None:
        """So is a request that does not fit, or asks for a host that the institution did not list."""
        async with clean(files):
            done = await run("gate", *files.options, "--request", "-", sent=sent)
        assert (done.returncode, done.stdout) == (2, b"")
        assert b"request" in done.stderr or b"printer.local" in done.stderr

    async def test_start_up_loads_neither_http_nor_tables(self, files: Files) -> None:
        """What an exam start does not need is not waited for."""
        async with clean(files):
            done = await asyncio.to_thread(
                subprocess.run,
                [HOST[0], "-X", "importtime", *HOST[1:], "gate", *files.options],
                capture_output=True,
                check=True,
                env=ENVIRONMENT,
            )
        loaded = {line.rpartition(b"|")[2].strip().partition(b".")[0] for line in done.stderr.splitlines()}
        assert b"OpenSSL" in loaded
        assert not loaded & {b"aiohttp", b"rich", b"jsonschema", b"pytest"}

    @pytest.mark.parametrize(("given", "code"), [((), 3), (("--probes", "1"), 0)])
    async def test_an_interceptor_that_lets_the_first_connection_pass(
        self, files: Files, pki: PrivatePKI, given: tuple[str, ...], code: int
    ) -> None:
        """It is found by default, and not with one probe."""
        async with (
            serve_origin(files.issued) as genuine,
            serve_origin(pki.private_ca("School CA").issue([EXAM])) as forged,
            fickle(genuine.address, forged.address, (PASS, FORGE)) as box,
        ):
            files.point_to(box.port)
            done = await run("gate", *files.options, *given)
        assert done.returncode == code


class TestNativeHost:
    async def test_conversation(self, files: Files) -> None:
        """Frames in, frames out, and nothing else on standard output; the end of input is the end."""
        async with clean(files):
            done = await run("native-host", *files.options, sent=frame(b'{"id":1}'))
        # The pipe was closed behind the request, so it may have been cancelled; whole frames came in any case.
        reader = FrameReader(TO_BROWSER_MAX)
        reader.feed(done.stdout)
        assert (done.returncode, done.stderr) == (0, b"")
        heard = reader.next()
        assert heard is None or json.loads(heard)["id"] == 1
        assert reader.next() is None

    async def test_answer_while_the_port_is_open(self, files: Files, pki: PrivatePKI) -> None:
        """One request after the other over one port; an interceptor that lets the first connection pass is found."""
        async with (
            serve_origin(files.issued) as genuine,
            serve_origin(pki.private_ca("School CA").issue([EXAM])) as forged,
            fickle(genuine.address, forged.address, (PASS, FORGE)) as box,
        ):
            files.point_to(box.port)
            process = await asyncio.create_subprocess_exec(
                *(*HOST, "native-host", *files.options),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=ENVIRONMENT,
            )
            assert process.stdin is not None
            assert process.stdout is not None
            reader, actions = FrameReader(TO_BROWSER_MAX), []
            async with asyncio.timeout(60):
                for number in range(2):
                    process.stdin.write(frame(json.dumps({"id": number}).encode()))
                    while (payload := reader.next()) is None:
                        reader.feed(await process.stdout.read(65536))
                    actions.append((json.loads(payload)["id"], json.loads(payload)["action"]))
                process.stdin.close()
                assert await process.wait() == 0
        assert actions == [(0, "block"), (1, "block")]

    def test_what_others_print_does_not_reach_the_browser(self) -> None:
        """A stray print in some library would end the conversation; it goes nowhere instead."""
        code = (
            "import os, sys\n"
            "from detector.cli import exam\n"
            "talking = exam._take_over_output()\n"
            "print('stray', flush=True)\n"
            "os.write(1, b'stray too')\n"
            "os.write(talking, b'frame')\n"
        )
        done = subprocess.run([HOST[0], "-c", code], capture_output=True, check=True)  # noqa: S603 - our own code
        assert (done.stdout, done.stderr) == (b"frame", b"")

    async def test_bad_policy_is_reported_to_the_browser_too(self, files: Files) -> None:
        """A browser shows no stderr: what is wrong with the files comes as a message, then the host ends."""
        files.policy.write_text("schema = 1\non_unconfirmed = 'sure'\n")
        done = await run("native-host", *files.options)
        reader = FrameReader(TO_BROWSER_MAX)
        reader.feed(done.stdout)
        said = json.loads(reader.next() or b"{}")
        assert (done.returncode, said["type"], said["code"]) == (2, "error", "bad-input")
        assert "on_unconfirmed" in said["message"]
        assert b"on_unconfirmed" in done.stderr


class TestManifest:
    async def test_shows_without_writing(self, files: Files, tmp_path: Path) -> None:
        """Without --install both files are shown, with every option for the host and in absolute paths."""
        async with clean(files):
            done = await run(
                *("manifest", "--browser", "edge", "--extension-id", EXTENSION_ID, "--vantage", "room 1"),
                *("--user-data-dir", "data", *files.options, "--pins", "pins.toml"),
                folder=tmp_path,
            )
        assert done.returncode == 0
        shown = done.stdout.decode()
        assert f"chrome-extension://{EXTENSION_ID}/" in shown
        assert "-P -m detector exam native-host" in shown
        assert f"--policy {files.policy}" in shown
        assert f"--pins {tmp_path / 'pins.toml'}" in shown
        assert f"{tmp_path / 'data'}/NativeMessagingHosts/" in shown
        assert "--vantage 'room 1'" in shown
        assert "--offline" in shown
        assert "--extension-id" not in shown
        assert b"Nothing was written" in done.stderr
        assert not (tmp_path / "data").exists()

    def test_names_no_program_that_is_not_detector(self, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
        """A browser would start a frozen application that only contains this command."""
        files.point_to(443)
        monkeypatch.setattr(sys, "frozen", True, raising=False)
        done = command.run("exam", "manifest", "--browser", "edge", "--extension-id", EXTENSION_ID, *files.options)
        assert (done.returncode, done.stdout) == (2, "")
        assert "through this program, which is a frozen application" in done.stderr

    async def test_passes_on_how_to_probe(self, files: Files, tmp_path: Path) -> None:
        """Options that are given go to the host, even with the value of the default; a proxy file by its whole path."""
        given = ("--probes", "2", "--spread", "--locate", "--route", "usual", "--hello", "browser")
        rules = ("--resolve", "a.example:443:192.0.2.1", "--connect-to", "b.example:443::8443")
        options = [word for word in files.options if word not in {"--proxy", "none"}]
        async with clean(files):
            done = await run(
                *("manifest", "--browser", "edge", "--extension-id", EXTENSION_ID, *options, *given),
                *("--proxy", "pac:proxy.pac", *rules),
                folder=tmp_path,
            )
        shown = done.stdout.decode()
        for word in (f"--proxy pac:{tmp_path / 'proxy.pac'}", "--probes 2", "--spread", "--locate", "--route usual"):
            assert word in shown
        assert " ".join(rules[:2]) in shown
        assert " ".join(rules[2:]) in shown
        assert "--hello browser" in shown
        assert "--quic" not in shown

    async def test_what_cannot_work_is_reported_to_who_installs_it(self, files: Files) -> None:
        """A bad policy is refused here, not on the day of the exam."""
        files.policy.write_text("schema = 1\nrequire_witness = 'exam'\npins = ['pins.toml']\n")
        async with clean(files):
            done = await run("manifest", "--browser", "chrome", "--extension-id", EXTENSION_ID, *files.options)
        assert done.returncode == 2
        assert b"no witness key is pinned" in done.stderr
