"""Timestamps of a bundle by real authorities (OpenSSL's): what they show, and what nobody can make them show.

Room: tests of bundle. Sockets on loopback.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import random
import subprocess
from typing import TYPE_CHECKING

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from detector_testing import TimeStampingAuthority, generate_key, serve_files, serve_tsa
from detector_testing.der import encode
from support.bundle_recordings import EXAM, KEY, PUBLIC, packed, recorded, remade, verify
from support.command import in_thread, run
from support.profiles import examples
from support.system import program

from detector.bundle import add_timestamp, form, redact, sign
from detector.bundle.verification import Conclusion, TimestampState, Unverifiable
from detector.errors import BundleError
from detector.trust import timestamp
from detector.trust.certificate import Certificate
from detector.trust.roots import Root, Roots

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import World
    from detector_testing import CA, PrivatePKI

    from detector.bundle import Verification

NAME = "CN=Example TSA"


@pytest.fixture(scope="module")
def root(pki: PrivatePKI) -> CA:
    return pki.private_ca("Example TSA Root")


@pytest.fixture(scope="module")
def authority(root: CA, tmp_path_factory: pytest.TempPathFactory) -> TimeStampingAuthority:
    program("openssl")
    return TimeStampingAuthority.create(root, tmp_path_factory.mktemp("tsa"))


@pytest.fixture(scope="module")
def data(world: World, pki: PrivatePKI) -> bytes:
    """A signed bundle without a timestamp."""
    return packed(recorded(world, EXAM, pki.issue([EXAM])))


def roots_of(*cas: CA) -> Roots:
    certificates = [Certificate.read(ca.certificate) for ca in cas]
    return Roots([Root("TSA", certificate) for certificate in certificates], name="tsa.pem", version="1")


def stamped(data: bytes, by: TimeStampingAuthority) -> bytes:
    """The bundle with a timestamp of this authority."""
    return add_timestamp(data, by.answer(timestamp.query(form.read(data).payload).encoded))


def when(verification: Verification) -> str:
    return next(word.summary for word in verification.words if word.ground is Unverifiable.TIME)


def test_trusted(world: World, data: bytes, root: CA, authority: TimeStampingAuthority) -> None:
    """With the authority's root, the time is not the recorder's claim alone; signing and redacting keep it."""
    before = dt.datetime.now(dt.UTC).replace(microsecond=0)
    kept = redact(sign(stamped(data, authority), [KEY]), ["vantage"])
    found = verify(world, kept, keys=(PUBLIC,), authorities=roots_of(root))
    (check,) = found.timestamps
    assert (check.state, check.authority, check.problem) == (TimestampState.TRUSTED, NAME, "")
    assert check.time is not None
    assert before <= check.time <= dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1)
    assert f"not later than {check.time:%Y-%m-%d %H:%M:%S} UTC: {NAME} says so" in when(found)
    assert found.conclusion is Conclusion.HOLDS


def test_not_checked(world: World, data: bytes, authority: TimeStampingAuthority) -> None:
    """Without a root of an authority nothing is believed: anyone can be an authority."""
    found = verify(world, stamped(data, authority), keys=(PUBLIC,))
    assert [check.state for check in found.timestamps] == [TimestampState.NOT_CHECKED]
    assert when(found).endswith("the recorder's clock.")


def signed_by_hand(answer: bytes, by: TimeStampingAuthority) -> bytes:
    """An answer with the same statement, signed with the key of `by`, whatever its certificate is made for."""

    def openssl(*arguments: str) -> None:
        subprocess.run([program("openssl"), *arguments], cwd=by.folder, check=True, capture_output=True)  # noqa: S603 - no shell; program and options are chosen here

    (by.folder / "genuine").write_bytes(answer)
    openssl("ts", "-reply", "-in", "genuine", "-token_out", "-out", "token")
    openssl("cms", "-verify", "-noverify", "-inform", "DER", "-in", "token", "-out", "statement")
    content = ("-binary", "-nodetach", "-econtent_type", "id-smime-ct-TSTInfo", "-cades", "-md", "sha256")
    signer = ("-signer", "certificate.pem", "-inkey", "key.pem")
    openssl("cms", "-sign", "-in", "statement", *content, *signer, "-outform", "DER", "-out", "signed")
    return encode(0x30, encode(0x30, b"\x02\x01\x00"), (by.folder / "signed").read_bytes())


@pytest.mark.parametrize("kind", ["right", "other-root", "server", "also-server", "incidental", "expired"])
def test_impostors(  # noqa: PLR0913, PLR0917 - fixtures
    kind: str, world: World, data: bytes, pki: PrivatePKI, root: CA, authority: TimeStampingAuthority, tmp_path: Path
) -> None:
    """Refused: another root, other purposes, a purpose that is not critical, an authority past its dates."""
    past = pki.now - dt.timedelta(days=1)
    make = functools.partial(TimeStampingAuthority.create, folder=tmp_path / "tsa")
    impostor = {
        "right": lambda: make(root),
        "other-root": lambda: make(pki.private_ca("Example TSA Root")),
        "server": lambda: make(root, purposes=[ExtendedKeyUsageOID.SERVER_AUTH]),
        "also-server": lambda: make(
            root, purposes=[ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.SERVER_AUTH]
        ),
        "incidental": lambda: make(root, critical=False),
        "expired": lambda: make(root, not_after=past),
    }[kind]()
    answer = signed_by_hand(form.read(stamped(data, authority)).file.timestamps[0], impostor)
    found = verify(world, add_timestamp(data, answer), keys=(PUBLIC,), authorities=roots_of(root))
    (check,) = found.timestamps
    assert check.state is (TimestampState.TRUSTED if kind == "right" else TimestampState.REFUSED)
    assert when(found).endswith("the recorder's clock.") is (kind != "right")


def test_another_manifest(
    world: World, data: bytes, pki: PrivatePKI, root: CA, authority: TimeStampingAuthority
) -> None:
    """A timestamp moved to another bundle shows nothing there, and changes no conclusion."""
    stamp = form.read(stamped(data, authority)).file.timestamps[0]
    other = packed(recorded(world, EXAM, pki.issue([EXAM])))
    found = verify(world, add_timestamp(other, stamp), keys=(PUBLIC,), authorities=roots_of(root))
    assert [(check.state, check.problem) for check in found.timestamps] == [
        (TimestampState.REFUSED, "it is over other data")
    ]
    assert found.conclusion is Conclusion.HOLDS


def test_two_certificates_of_the_signer(data: bytes, root: CA, authority: TimeStampingAuthority) -> None:
    """An answer with a second certificate of the signer's issuer and number is refused, whichever is read first."""
    payload = form.read(data).payload
    answer = authority.answer(timestamp.query(payload).encoded)
    genuine = x509.load_pem_x509_certificate((authority.folder / "certificate.pem").read_bytes())
    key = generate_key()
    double = (
        x509.CertificateBuilder(genuine.issuer, genuine.subject, key.public_key(), genuine.serial_number)
        .not_valid_before(genuine.not_valid_before_utc)
        .not_valid_after(genuine.not_valid_after_utc)
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )
    at = answer.index(genuine.public_bytes(Encoding.DER))
    doubled = _with_lengths(answer[:at] + double + answer[at:], len(double), upto=at)
    with pytest.raises(timestamp.NoTimestampError, match="not exactly one certificate of its signer"):
        timestamp.examine(doubled, payload, roots_of(root))


def _with_lengths(answer: bytes, more: int, *, upto: int) -> bytes:
    """Add `more` to the length of every DER value that encloses position `upto` (each with a length of two bytes)."""
    changed, at = bytearray(answer), 0
    while at < upto:
        if changed[at + 1] == 0x82:
            end = at + 4 + int.from_bytes(changed[at + 2 : at + 4])
            if end > upto:
                changed[at + 2 : at + 4] = (int.from_bytes(changed[at + 2 : at + 4]) + more).to_bytes(2)
                at += 4
                continue
            at = end
        else:
            at += 2 + changed[at + 1]
    return bytes(changed)


def test_existed_before_it_was_finished(world: World, data: bytes, root: CA, authority: TimeStampingAuthority) -> None:
    """A manifest that existed a day before its own time was assessed by a wrong clock: incomplete, with the reason."""

    def edit(manifest: dict[str, object], _: object) -> None:
        later = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
        manifest["finished"] = later.isoformat().replace("+00:00", "Z")

    ahead = sign(remade(data, edit), [KEY])
    found = verify(world, stamped(ahead, authority), keys=(PUBLIC,), authorities=roots_of(root))
    assert found.conclusion is Conclusion.INCOMPLETE
    assert any("the recorder's clock was wrong" in reason for reason in found.reasons)


def test_damaged(data: bytes, root: CA, authority: TimeStampingAuthority) -> None:
    """Whatever bytes of an answer change, it is refused or shows the same time of the same authority."""
    payload, rng = form.read(data).payload, random.Random(31)  # noqa: S311 - damage, not secrets
    answer = authority.answer(timestamp.query(payload).encoded)
    right = timestamp.examine(answer, payload, roots_of(root))
    refused = 0
    for _ in range(examples(2000)):
        damaged = bytearray(answer)
        for _ in range(rng.choice([1, 1, 3, 20])):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        del damaged[rng.choice([len(damaged), rng.randrange(len(damaged))]) :]
        try:
            assert timestamp.examine(bytes(damaged), payload, roots_of(root)) == right
        except timestamp.NoTimestampError:
            refused += 1
    assert refused > examples(2000) // 2


def test_too_many(data: bytes) -> None:
    """A bundle takes eight timestamps, none of more than 64 KiB."""
    for _ in range(form.STAMPS_MAX):
        data = add_timestamp(data, b"stamp")
    with pytest.raises(BundleError, match="no room for another"):
        add_timestamp(data, b"stamp")
    file = json.loads(data)
    file["timestamps"] = [msgspec.to_builtins(bytes(form.STAMP_BYTES_MAX + 1))]
    with pytest.raises(BundleError, match="timestamps"):
        form.read(json.dumps(file).encode())


def test_command_line(data: bytes, root: CA, authority: TimeStampingAuthority, pki: PrivatePKI, tmp_path: Path) -> None:
    """`bundle sign --tsa` adds a timestamp, and `verify --tsa-root` believes it, on a machine that is offline then."""
    written = pki.write(tmp_path)
    (tmp_path / "evidence.json").write_bytes(data)
    (tmp_path / "tsa.pem").write_bytes(root.pem)
    key = tmp_path / "key.pem"
    key.write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    key.chmod(0o600)
    trust = ("--roots", str(written.roots), "--ct-logs", str(written.ct_logs))
    with in_thread(serve_tsa(authority)) as tsa:
        url = f"http://127.0.0.1:{tsa.port}/"
        signing = ("bundle", "sign", "evidence.json", "--proxy", "none", "--tsa", url, "-o", "stamped.json")
        assert run(*signing, "--signing-key", "key.pem", cwd=tmp_path).returncode == 0
        assert [request.method for request in tsa.requests] == ["POST"]
    shown = run("bundle", "show", "stamped.json", cwd=tmp_path).stdout
    assert "1 timestamp(s), not checked" in shown
    done = run("verify", "stamped.json", *trust, "--tsa-root", "tsa.pem", cwd=tmp_path)
    assert f"{NAME} says so" in " ".join(done.stdout.split())
    done = run("verify", "stamped.json", *trust, cwd=tmp_path)
    assert "Timestamp 1: not checked; name the root of its authority (--tsa-root)." in " ".join(done.stdout.split())


@pytest.mark.parametrize("kind", ["nobody", "other-answer", "old-answer", "credentials", "https-nobody", "scheme"])
def test_authorities_that_do_not_answer(
    kind: str, data: bytes, authority: TimeStampingAuthority, tmp_path: Path
) -> None:
    """Whatever an authority does, the command says so in a sentence without credentials, and writes nothing."""
    (tmp_path / "evidence.json").write_bytes(data)
    old = authority.answer(timestamp.query(form.read(data).payload).encoded)
    with in_thread(serve_files({"/other": b"hello", "/old": old})) as server:
        address = f"127.0.0.1:{server.port}"
        url = {
            "nobody": "http://127.0.0.1:1/",
            "other-answer": f"http://{address}/other",
            "old-answer": f"http://{address}/old",
            "credentials": f"http://user:secret@{address}/",
            "https-nobody": "https://127.0.0.1:1/",
            "scheme": "ftp://tsa.example.org/",
        }[kind]
        done = run("bundle", "sign", "evidence.json", "--proxy", "none", "--tsa", url, "-o", "out.json", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "secret" not in done.stderr
    assert "time-stamping authority" in done.stderr
    assert not (tmp_path / "out.json").exists()
