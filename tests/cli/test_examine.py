"""`detector examine` on what people have, and chains that commands save."""

from __future__ import annotations

import contextlib
import json
import stat
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, pkcs7, pkcs12
from detector_testing import serve_origin
from detector_testing.pki import to_pem
from support.command import Done, in_thread, run

from detector.session.seams import utc_now
from detector.trust import certificate_files
from detector.trust.certificate import KEY_NOT_PROVED

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from detector_testing import PrivatePKI
    from detector_testing.pki import Issued

LONE = ("--proxy", "none", "--offline")
EXAM, LMS = "exam.example.edu", "lms.example.org"


class Desk(NamedTuple):
    """A folder, the trust of the test PKI, and a chain of each host."""

    folder: Path
    trust: tuple[str, ...]
    issued: dict[str, Issued]

    def examine(self, content: bytes, *more: str, host: str = EXAM, name: str = "given") -> Done:
        """Examine a file with this content."""
        (self.folder / name).write_bytes(content)
        return run("examine", name, "--host", host, *self.trust, *more, cwd=self.folder)


@pytest.fixture
def desk(pki: PrivatePKI, tmp_path: Path) -> Desk:
    written = pki.write(tmp_path)
    trust = ("--roots", str(written.roots), "--ct-logs", str(written.ct_logs))
    return Desk(tmp_path, trust, {host: pki.issue([host]) for host in (EXAM, LMS)})


def test_standard_input(desk: Desk) -> None:
    """- is standard input, whose errors are named so."""
    chain = desk.issued[EXAM].chain_pem
    done = run("examine", "-", "--host", EXAM, *desk.trust, stdin=chain, cwd=desk.folder)
    assert (done.returncode, done.stderr) == (0, "")
    refused = run("examine", "-", "--host", EXAM, *desk.trust, stdin=b"0", cwd=desk.folder)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("Error: standard input: This is text, and holds no certificate.")


def test_a_file_without_certificates_is_never_assessed(desk: Desk) -> None:
    """What holds no certificate ends as bad input, with one line that names the file, and no result."""
    for content in (
        b"",
        b"0",
        bytes(3),
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        desk.issued[EXAM].key_pem,
    ):
        done = desk.examine(content, "-o", "result")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("Error: given: ")
        assert len(done.stderr.splitlines()) == 1
        assert not (desk.folder / "result").exists()


def test_without_a_host_the_names_in_the_file_are_said(desk: Desk) -> None:
    """No name is assumed: the one to compare with must come from the user."""
    (desk.folder / "chain.pem").write_bytes(desk.issued[EXAM].chain_pem)
    done = run("examine", "chain.pem", cwd=desk.folder)
    assert done.returncode == 2
    assert f"The first certificate is for {EXAM}." in done.stderr
    (desk.folder / "chain.pem").write_bytes(b"0")
    assert "--host" in run("examine", "chain.pem", cwd=desk.folder).stderr


def test_formats_are_assessed_like_pem(desk: Desk) -> None:
    """PKCS #7 and PKCS #12 give the verdict of the chain in them; the password comes from a file."""
    issued = desk.issued[EXAM]
    leaf, *others = [x509.load_der_x509_certificate(one) for one in issued.chain]
    assert desk.examine(pkcs7.serialize_certificates([*others, leaf], Encoding.DER)).returncode == 0
    key = BestAvailableEncryption("pässword".encode())
    packed = pkcs12.serialize_key_and_certificates(None, issued.key, leaf, others, key)
    refused = desk.examine(packed)
    assert (refused.returncode, "--password-file" in refused.stderr) == (2, True)
    for content, code in (("pässword", 0), ("pässword\n", 0), ("pässword\r\nmore", 0), ("other", 2), ("", 2)):
        (desk.folder / "password").write_bytes(content.encode())
        assert desk.examine(packed, "--password-file", "password").returncode == code
    for data in (b"\xff\xfe", b"x" * 2000):
        (desk.folder / "password").write_bytes(data)
        done = desk.examine(packed, "--password-file", "password")
        assert (done.returncode, "password" in done.stderr, "Traceback" in done.stderr) == (2, True, False)


def test_not_leaf_first_accuses_nobody(desk: Desk) -> None:
    """A reversed chain is clean, with a note; another order is refused; --as-presented assesses it as it stands."""
    exam, other = desk.issued[EXAM].chain, desk.issued[LMS].chain
    reversed_chain = b"".join(map(to_pem, reversed(exam)))
    done = desk.examine(reversed_chain)
    assert (done.returncode, done.stderr) == (
        0,
        "Note: Certificate 2 of the file is the server's own: it was put first.\n",
    )
    mixed = b"".join(map(to_pem, (*other, *exam)))
    refused = desk.examine(mixed)
    assert refused.returncode == 2
    assert f"given: Certificate 3 is for {EXAM} and the first one is not: not leaf first." in refused.stderr
    for content in (reversed_chain, mixed):
        as_presented = desk.examine(content, "--as-presented")
        assert (as_presented.returncode, "possible" in as_presented.stdout) == (3, True)


def test_a_certificate_alone(desk: Desk, pki: PrivatePKI) -> None:
    """A certificate with its issuer's missing is refused, unless the server presented it so; a forged one is not."""
    refused = desk.examine(desk.issued[EXAM].leaf)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "given: This holds the server's certificate alone, and its issuer is not known here." in refused.stderr
    assert desk.examine(desk.issued[EXAM].leaf, "--as-presented").returncode == 3
    forged = desk.examine(pki.private_ca("Campus Filter CA").issue([EXAM]).leaf)
    assert (
        forged.returncode,
        "private-pki" in forged.stdout or "issuer" in forged.stdout or "root" in forged.stdout,
    ) == (3, True)
    assert forged.stderr == "Note: The file holds one certificate. If the server presented more, give all of them.\n"


def test_a_saved_chain_is_examined_again(desk: Desk) -> None:
    """--save-chain of `examine` writes what was assessed as PEM, for its owner alone, and it is assessed alike.

    So a genuine chain whose key was not proved, as when somebody replays it, does not become clean.
    """
    first = desk.examine(b"".join(desk.issued[EXAM].chain), "--save-chain", "saved.pem", "--key-not-proved")
    assert first.returncode == 3
    saved = desk.folder / "saved.pem"
    assert certificate_files.read(saved.read_bytes()).certificates == desk.issued[EXAM].chain
    assert saved.read_text().startswith(f"# Presented by {EXAM}:443, leaf first.\n{KEY_NOT_PROVED}\n")
    if sys.platform != "win32":
        assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    again = desk.examine(saved.read_bytes())
    assert (again.returncode, "the handshake did not prove the key" in again.stderr) == (3, True)
    both = desk.examine(saved.read_bytes(), "--save-chain", "x", "-o", "x")
    assert (both.returncode, "--output and --save-chain are both x" in both.stderr) == (2, True)


class TestSavedByCheck:
    def test_one_endpoint(self, desk: Desk, pki: PrivatePKI) -> None:
        """The chain of one endpoint goes to a file, as it was presented, and is examined with the same result."""
        forged = pki.private_ca("Campus Filter CA").issue([EXAM])
        with in_thread(serve_origin(forged)) as origin:
            rule = ("--connect-to", f"{EXAM}:443:{origin.host}:{origin.port}")
            checked = run("check", EXAM, *desk.trust, *rule, *LONE, "--save-chain", "saved.pem", cwd=desk.folder)
        saved = (desk.folder / "saved.pem").read_bytes()
        assert certificate_files.read(saved).certificates == forged.chain
        assert (checked.returncode, desk.examine(saved).returncode) == (3, 3)

    def test_several_endpoints(self, desk: Desk) -> None:
        """Each chain goes to a file of its own in a directory, which only its owner may list."""
        with contextlib.ExitStack() as stack:
            rules = ["--connect-to", "gone.example.org:443:127.0.0.1:1"]
            for host, issued in desk.issued.items():
                origin = stack.enter_context(in_thread(serve_origin(issued)))
                rules += ["--connect-to", f"{host}:443:{origin.host}:{origin.port}"]
            for _ in range(2):  # a directory may exist
                run(
                    "check",
                    EXAM,
                    LMS,
                    "gone.example.org",
                    *desk.trust,
                    *rules,
                    *LONE,
                    "--save-chain",
                    "saved",
                    cwd=desk.folder,
                )
        folder = desk.folder / "saved"
        assert {file.name for file in folder.iterdir()} == {
            f"{host}_443.pem" for host in (EXAM, LMS, "gone.example.org")
        }
        for host, issued in desk.issued.items():
            content = (folder / f"{host}_443.pem").read_bytes()
            assert certificate_files.read(content).certificates == issued.chain
            assert desk.examine(content, host=host).returncode == 0
        assert (
            folder / "gone.example.org_443.pem"
        ).read_text() == "# gone.example.org:443 presented no certificate (connect-refused).\n"
        assert (
            "is text, and holds no certificate"
            in desk.examine((folder / "gone.example.org_443.pem").read_bytes()).stderr
        )
        if sys.platform != "win32":
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}

    def test_an_address_as_a_file_name(self, desk: Desk, pki: PrivatePKI) -> None:
        """An IPv6 address becomes a name that every file system takes; an existing directory takes one chain, too."""
        with in_thread(serve_origin(pki.issue(["::1"]))) as origin:
            rule = ("--connect-to", f"[::1]:443:{origin.host}:{origin.port}")
            run("check", "[::1]", *desk.trust, *rule, *LONE, "--save-chain", ".", cwd=desk.folder)
        assert (desk.folder / "__1_443.pem").exists()

    @pytest.mark.parametrize("host", ["aux.example.edu", "com1.example.edu", "nul"])
    def test_a_device_as_a_host(self, desk: Desk, host: str) -> None:
        """A host whose file Windows would take for a device gets another name, on every system."""
        pem = to_pem(desk.issued[EXAM].chain[0])
        (desk.folder / "chains").mkdir(exist_ok=True)
        desk.examine(pem, "--save-chain", "chains", host=host)
        assert (desk.folder / "chains" / f"_{host}_443.pem").exists() is ("." in host)
        assert (desk.folder / "chains" / f"{host}_443.pem").exists() is ("." not in host)

    @pytest.mark.parametrize("place", ["missing/saved.pem", "roots.pem/saved"])
    def test_a_place_that_cannot_be_written(self, desk: Desk, place: str) -> None:
        """It is reported before anything is probed, with the option and the place."""
        for targets in ((EXAM,), (EXAM, LMS)):
            done = run("check", *targets, *desk.trust, *LONE, "--save-chain", place, cwd=desk.folder)
            assert (done.returncode, done.stdout) == (2, "")
            assert f"--save-chain {place}: cannot be written" in done.stderr


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-10:00"])
def test_a_time_that_utc_does_not_have(desk: Desk, moment: str) -> None:
    """An offset that leads out of the calendar is bad usage, not an internal error."""
    refused = run("examine", "-", "--host", EXAM, "--at", moment, cwd=desk.folder)
    assert refused.returncode == 2
    assert "before the year 1 or after the year 9999 in UTC" in refused.stderr


def test_a_report_is_a_claim(desk: Desk, pki: PrivatePKI) -> None:
    """Host, time and served chain come from it, its client's opinion does not count, and no key is proved by it."""
    genuine, forged = desk.issued[EXAM].chain, pki.private_ca("Middlebox").issue([EXAM]).chain
    now = f"{utc_now():%Y-%m-%dT%H:%M:%SZ}"
    fields = {"hostname": EXAM, "port": 443, "date-time": now, "known-pins": []}

    def examine(served: Iterable[bytes], *more: str, **others: object) -> Done:
        content = fields | {"served-certificate-chain": [to_pem(one).decode() for one in served]} | others
        (desk.folder / "report.json").write_text(json.dumps(content), "utf-8")
        return run("examine", "--report", "report.json", *desk.trust, *more, "--json", cwd=desk.folder)

    clear = examine(genuine)
    assert (clear.returncode, json.loads(clear.stdout)["results"][0]["verdict"]) == (3, "inconclusive")
    assert clear.stderr == "Note: Host, time and chain are what the report claims: nobody signed it.\n"
    validated = {"validated-certificate-chain": [to_pem(one).decode() for one in genuine]}
    accused = json.loads(examine(forged, **validated).stdout)["results"][0]
    assert accused["verdict"] == "middleware"
    assert accused["endpoint"]["host"] == EXAM
    late = examine(genuine, **{"date-time": "2999-01-01T00:00:00Z"})
    assert (late.returncode, late.stdout) == (2, "")
    assert late.stderr.startswith("Error: report.json: date-time: ")
    assert examine(genuine, "--at", now, **{"date-time": "2999-01-01T00:00:00Z"}).returncode == 3
