"""Evidence bundles on the command line: written by a check, assessed again, inspected, redacted, signed."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import jsonschema  # type: ignore[import-untyped] # its stubs are a package of their own, for one call here
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from detector_testing import serve_middlebox
from support.bundle_recordings import remade
from support.command import Done, in_thread, run, run_process
from support.results import stating

from detector.bundle import sign
from detector.bundle.form import bundle_schema
from detector.trust.envelope import key_identifier, public_key_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from detector_testing import PrivatePKI

EXAM, LMS = "exam.example.edu", "lms.example.org"
KEY = Ed25519PrivateKey.from_private_bytes(bytes([7] * 32))
STRANGER = key_identifier(public_key_of(Ed25519PrivateKey.from_private_bytes(bytes([8] * 32))))


class Office:
    """A reviewer: a folder with a signed bundle of an intercepted network, keys, roots and logs."""

    def __init__(self, folder: Path, pki: PrivatePKI) -> None:
        written = pki.write(folder)
        self.folder = folder
        self.trust = ("--roots", str(written.roots), "--ct-logs", str(written.ct_logs))
        self.private, self.public = folder / "recorder.key", folder / "recorder.pem"
        self.private.write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        self.private.chmod(0o600)
        self.public.write_bytes(KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        self.bundle = folder / "evidence.json"

    def run(self, *arguments: str) -> Done:
        """Run `detector` in this folder."""
        return run(*arguments, cwd=self.folder)

    def verify(self, *arguments: str, bundle: str = "evidence.json") -> Done:
        return self.run("verify", bundle, *self.trust, *arguments)

    def record(self, pki: PrivatePKI) -> Done:
        """`detector check` behind a filter, with the evidence kept."""
        with in_thread(serve_middlebox(pki.private_ca("Campus Filter CA"))) as box:
            proxy = ("--proxy", f"http://127.0.0.1:{box.port}", "--vantage", "room 12", "--offline")
            kept = ("--bundle", "evidence.json", "--signing-key", str(self.private), "--history", "history.sqlite")
            stated = stating(self.folder, EXAM, LMS)
            return self.run("check", EXAM, LMS, *self.trust, *stated, *proxy, *kept)


@pytest.fixture(scope="module")
def office(pki: PrivatePKI, tmp_path_factory: pytest.TempPathFactory) -> Office:
    office = Office(tmp_path_factory.mktemp("office"), pki)
    done = office.record(pki)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("INTERCEPTED (proven: ")
    return office


def test_check_writes_a_bundle(office: Office) -> None:
    """The bundle next to the report follows its schema and is signed."""
    file = json.loads(office.bundle.read_bytes())
    jsonschema.validate(file, bundle_schema())
    assert [s["keyid"] for s in file["envelope"]["signatures"]] == [key_identifier(public_key_of(KEY))]


@pytest.mark.parametrize("key", ["file", "text", "none"])
def test_it_holds(key: str, office: Office) -> None:
    """Exit 0 with the signer's key, else 3: what was signed, by whom, both verdicts, and what cannot be verified."""
    given = {
        "file": ("--key-file", "recorder.pem"),
        "text": ("--key", STRANGER, "--key", key_identifier(public_key_of(KEY))),
        "none": (),
    }
    done = office.verify(*given[key])
    assert (done.returncode, done.stderr) == (0 if given[key] else 3, "")
    words = " ".join(done.stdout.split())
    assert words.startswith("HOLDS:" if given[key] else "NOT VOUCHED FOR:")
    assert f"Signed by: {key_identifier(public_key_of(KEY))}" in words
    assert "Assessed again: INTERCEPTED (proven: no innocent reason fits): TLS" in words
    assert "identity-substituted" not in words
    evidence = " ".join(office.verify(*given[key], "-v").stdout.split())
    assert "a different certificate was presented for its name. [identity-substituted]" in evidence
    assert "Not verifiable: That it was" in words
    assert "\x1b" not in done.stdout


def test_json(office: Office) -> None:
    """JSON has the whole verification, the report assessed again in it."""
    done = office.verify("--format", "json", "--key-file", "recorder.pem")
    verification = json.loads(done.stdout)
    assert (done.returncode, verification["conclusion"], verification["signature"]) == (0, "holds", "signed")
    assert [check["key"] for check in verification["endpoints"]] == ["verified", "verified"]
    assert verification["report"]["vantage"] == "room 12"


@pytest.fixture(scope="module")
def dossier_of(office: Office) -> Callable[..., dict[str, Any]]:
    """`detector dossier` on bundles, as JSON."""

    def make(*arguments: str) -> dict[str, Any]:
        done = office.run("dossier", *arguments, *office.trust, "--format", "json")
        assert done.returncode == 0, done.stderr
        reported: dict[str, Any] = json.loads(done.stdout)
        return reported

    return make


def test_dossier_from_a_bundle(dossier_of: Callable[..., dict[str, Any]], office: Office) -> None:
    """What a signed bundle shows, assessed again, with its place, its signer and the file's hash as evidence."""
    reported = dossier_of("evidence.json", "--key-file", "recorder.pem")
    assert (reported["vantage"], reported["results"], reported["sources"]) == ("room 12", 2, 1)
    assert [(who["issuer"], who["confidence"]) for who in reported["interceptors"]] == [
        ("CN=Campus Filter CA", "proven")
    ]
    digest = hashlib.sha256(office.bundle.read_bytes()).hexdigest()
    signer = key_identifier(public_key_of(KEY))
    assert reported["evidence"] == [f"bundle evidence.json (SHA-256 {digest}): holds; signed by {signer}"]
    assert not any("known key" in gap or "rows of a database" in gap for gap in reported["gaps"])


def test_dossier_says_whose_word_it_is(dossier_of: Callable[..., dict[str, Any]]) -> None:
    """Without a key the reviewer knows, a bundle is listed, and that anybody can make one is a gap."""
    assert any("1 of 1 bundles are signed by no known key" in gap for gap in dossier_of("evidence.json")["gaps"])


def test_dossier_leaves_out_what_does_not_hold(dossier_of: Callable[..., dict[str, Any]], office: Office) -> None:
    """A changed bundle is named, and nothing in it is believed."""
    changed = office.folder / "forged.json"
    changed.write_text(office.bundle.read_text().replace("exam.example.edu", "evil.example.edu"))
    reported = dossier_of("forged.json", "--key-file", "recorder.pem")
    assert (reported["results"], reported["interceptors"]) == (0, [])
    assert ["left out" in source for source in reported["evidence"]] == [True]
    assert any("do not hold" in gap for gap in reported["gaps"])


def test_dossier_counts_a_run_once(dossier_of: Callable[..., dict[str, Any]], office: Office) -> None:
    """A copy of a bundle, with a signature more or as a run of the history, is the same occurrence; each is named."""
    copy = office.folder / "copy.json"
    copy.write_bytes(sign(office.bundle.read_bytes(), [Ed25519PrivateKey.generate()]))
    assert dossier_of("--history", "history.sqlite", "--vantage", "room 12")["results"] == 2
    reported = dossier_of("evidence.json", "copy.json", "--history", "history.sqlite", "--key-file", "recorder.pem")
    assert (reported["results"], reported["sources"]) == (2, 2)
    assert {e["times_seen"] for who in reported["interceptors"] for e in who["endpoints"]} == {1}


def test_dossier_is_on_one_place(office: Office) -> None:
    """Bundles of another place are left out where the place was named; otherwise it is asked for."""
    done = office.run("dossier", "evidence.json", "--vantage", "hall", *office.trust, "--format", "json")
    assert json.loads(done.stdout)["summary"] == "Nothing is known of hall."
    assert done.stderr == "evidence.json: of “room 12”, not of “hall”; it was left out.\n"


@pytest.mark.parametrize("given", [(), ("nothing.json",), ("recorder.pem",)], ids=["none", "missing", "no bundle"])
def test_dossier_without_evidence_is_exit_2(given: tuple[str, ...], office: Office) -> None:
    """Nothing named, or not a bundle: one sentence that says what to do."""
    done = office.run("dossier", *given)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2


def test_other_key_is_exit_3(office: Office) -> None:
    """Signed by nobody we know: undecided."""
    done = office.verify("--key", STRANGER)
    assert (done.returncode, "by no key that was given" in done.stdout) == (3, True)


def test_without_signatures_is_exit_3(office: Office) -> None:
    """A place that was changed, with new digests and no signatures, is as good as any invention, and does not hold."""

    def elsewhere(_: dict[str, Any], contents: dict[str, Any]) -> None:
        contents["circumstances-1"]["journeys"][0]["address"] = "127.0.0.9:443"

    (office.folder / "elsewhere.json").write_bytes(remade(office.bundle.read_bytes(), elsewhere, keys=()))
    for given in ((), ("--key-file", "recorder.pem")):
        done = office.verify(*given, bundle="elsewhere.json")
        assert (done.returncode, "HOLDS" in done.stdout) == (3, False)
        assert "It is not signed." in done.stdout


def test_changed_is_exit_1(office: Office) -> None:
    """One host exchanged for another: the part is named."""
    changed = office.folder / "changed.json"
    changed.write_text(office.bundle.read_text().replace("exam.example.edu", "evil.example.edu"))
    done = office.verify(bundle="changed.json")
    assert done.returncode == 1
    assert done.stdout.startswith("DOES NOT HOLD.")
    assert "Part endpoint-1 was changed" in done.stdout


def test_assessed_differently_is_exit_1(office: Office) -> None:
    """By pins of the reader's own another verdict comes out, and both are reported."""
    pins = office.folder / "pins.toml"
    pins.write_text(
        f'schema = 1\nname = "t"\n[[endpoint]]\nhost = "{EXAM}"\ncertificates = ["sha256:{leaf_hash(office)}"]\n'
    )
    done = office.verify("--pins", "pins.toml")
    assert done.returncode == 1
    words = " ".join(done.stdout.split())
    assert "claimed intercepted (proven) (" in words
    assert "assessed again clean (" in words


def leaf_hash(office: Office) -> str:
    """SHA-256 of the leaf that the filter made for the first endpoint."""
    verification = json.loads(office.verify("--format", "json").stdout)
    return str(verification["report"]["results"][0]["observation"]["chain"][0]["sha256"])


def test_show(office: Office) -> None:
    """The parts with their endpoints; one of them as JSON."""
    done = office.run("bundle", "show", "evidence.json")
    assert done.returncode == 0
    assert f"signature by {key_identifier(public_key_of(KEY))}: right" in done.stdout
    assert f"endpoint-1          intact  {EXAM}:443" in done.stdout
    part = office.run("bundle", "show", "evidence.json", "vantage")
    assert json.loads(part.stdout) == {"vantage": "room 12"}
    missing = office.run("bundle", "show", "evidence.json", "endpoint-9")
    assert (missing.returncode, "'endpoint-9'" in missing.stderr) == (2, True)


def test_redact_and_sign(office: Office) -> None:
    """Without the vantage it still holds; without an endpoint it is undecided; a second signature is reported."""
    second = office.folder / "second.key"
    second.write_bytes(Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    second.chmod(0o600)
    known = ("--key-file", "recorder.pem")
    assert office.run("bundle", "redact", "evidence.json", "vantage", "-o", "public.json").returncode == 0
    assert "room 12" not in (office.folder / "public.json").read_text()
    assert office.run("bundle", "sign", "public.json", "--signing-key", str(second), "-o", "both.json").returncode == 0
    done = office.verify(*known, bundle="both.json")
    assert (done.returncode, done.stdout.count("ed25519/")) == (0, 2)
    assert office.run("bundle", "redact", "evidence.json", "endpoint-2", "-o", "half.json").returncode == 0
    half = office.verify(*known, bundle="half.json")
    assert half.returncode == 3
    assert half.stdout.startswith("INCOMPLETE:")
    assert "Part endpoint-2: redacted." in half.stdout


def test_in_processes_of_their_own(office: Office) -> None:
    """What a shell gets of each command: exit codes, and the result alone on standard output."""
    held = run_process("verify", "evidence.json", "--key-file", "recorder.pem", *office.trust, cwd=office.folder)
    assert (held.returncode, held.stdout[:6], held.stderr) == (0, "HOLDS:", "")
    part = run_process("bundle", "show", "evidence.json", "vantage", cwd=office.folder)
    assert (part.returncode, json.loads(part.stdout)) == (0, {"vantage": "room 12"})
    assert run_process("dossier", "nothing.json", cwd=office.folder).returncode == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("verify", "missing.json"), ("missing.json", "cannot be read")),
        (("verify", "recorder.pem"), ("recorder.pem", "Not a bundle")),
        (("verify", "evidence.json", "--key", "sha256/AAAA"), ("sha256/AAAA", "ed25519/")),
        (("verify", "evidence.json", "--key-file", "recorder.key"), ("recorder.key", "no public key")),
        (("verify", "evidence.json", "--roots", "missing.pem"), ("missing.pem",)),
        (("bundle", "redact", "evidence.json", "endpoint-9"), ("evidence.json", "endpoint-9", "endpoint-1")),
        (("bundle", "sign", "evidence.json", "--signing-key", "recorder.pem"), ("recorder.pem",)),
        (("bundle", "sign", "evidence.json"), ("--signing-key",)),
        (("check", EXAM, "--signing-key", "recorder.key"), ("--bundle",)),
        (("check", EXAM, "--bundle", "no/such/dir/e.json"), ("no/such/dir/e.json",)),
        (("check", EXAM, "--bundle", "e.json", "--signing-key", "missing.key"), ("missing.key",)),
    ],
)
def test_bad_input(arguments: tuple[str, ...], words: tuple[str, ...], office: Office) -> None:
    """Exit 2, one sentence on stderr that names what is wrong, nothing on stdout."""
    done = office.run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert all(word in done.stderr for word in words)
