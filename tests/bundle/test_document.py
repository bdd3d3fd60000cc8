"""docs/evidence-bundle.md and the schemas say what is so, and a bundle of the first version still verifies.

Room: tests of bundle. Reads files, runs the commands of the document.
"""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema  # type: ignore[import-untyped] # its stubs are a package of their own, for a few calls here
import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support.bundle_recordings import EXAM, KEY, LMS, PUBLIC, packed, recorded, verify
from support.system import program

from detector import bundle
from detector.bundle import form
from detector.bundle.verification import Conclusion
from detector.knowledge import ct_logs, roots
from detector.model import KnowledgeKind
from detector.trust import envelope

if TYPE_CHECKING:
    from conftest import World
    from detector_testing import PrivatePKI

ROOT = Path(__file__).resolve().parent.parent.parent
DATA = Path(__file__).resolve().parent / "data"
DOCUMENT = (ROOT / "docs" / "evidence-bundle.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(sh|python)\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
SCHEMA: dict[str, Any] = json.loads((ROOT / "docs" / "bundle.schema.json").read_text("utf-8"))


def valid(value: object, name: str) -> bool:
    """Whether a value follows the definition of this name in the schema."""
    schema = {"$ref": f"#/$defs/{name}", "$defs": SCHEMA["$defs"]}
    return bool(jsonschema.Draft202012Validator(schema).is_valid(value))


def manifest_of(data: bytes) -> bytes:
    return envelope.unseal(json.dumps(json.loads(data)["envelope"]).encode(), payload_type=form.PAYLOAD_TYPE).payload


@pytest.mark.parametrize("name", ["bundle.schema.json", "verification.schema.json"])
def test_schema_is_current(name: str) -> None:
    """The schemas are what the records say; `python scripts/build_schema.py` writes them."""
    script = runpy.run_path(str(ROOT / "scripts" / "build_schema.py"))
    assert (ROOT / "docs" / name).read_text("utf-8") == script["text"](name)


def test_bundle_follows_the_schema(world: World, pki: PrivatePKI) -> None:
    """The file, its manifest and the content of every part are what the schema says, and strangers are not."""
    ca = pki.private_ca("Filter CA")
    data = packed(recorded(world, EXAM, pki.issue([EXAM])), recorded(world, LMS, ca.issue([LMS])))
    file = json.loads(data)
    jsonschema.validate(file, SCHEMA)
    assert valid(json.loads(manifest_of(data)), "Manifest")
    for part in bundle.read(data).parts:
        assert valid(json.loads(msgspec.json.encode(part.content)), form.CONTENT_OF[part.entry.kind].__name__)
    assert not valid(file | {"remark": "x"}, "BundleFile")
    assert not valid({key: value for key, value in file.items() if key != "format"}, "BundleFile")


def test_verification_follows_the_schema(world: World, pki: PrivatePKI) -> None:
    """What `detector verify --format json` prints is what its schema says."""
    schema = json.loads((ROOT / "docs" / "verification.schema.json").read_text("utf-8"))
    jsonschema.validate(
        json.loads(msgspec.json.encode(verify(world, packed(recorded(world, EXAM, pki.issue([EXAM])))))), schema
    )


def test_schema_has_no_place_for_the_person() -> None:
    """No field of a bundle could hold who or where the student is.

    A proxy is named without credentials, a proxy file without its folder; both can be taken out with the circumstances.
    """
    names = {name for record in SCHEMA["$defs"].values() for name in record.get("properties", {})}
    telling = r"user|hostname|client(?!_hello)|student|local_address|mac\b|source|path|file|folder"
    assert not {name for name in names - {"proxy_file"} if re.search(telling, name)}


def test_bundle_of_the_first_version() -> None:
    """A bundle recorded earlier verifies as it did then; it was signed again when `hello`, `engine`, `ja4` came."""
    data = (DATA / "intercepted.json").read_bytes()
    verification = bundle.verify(
        data, keys=[PUBLIC], roots=roots.load(DATA / "roots.pem"), logs=ct_logs.load(DATA / "ct_logs.json")
    )
    assert (verification.conclusion, verification.reasons) == (Conclusion.HOLDS, ())
    assert [(check.judged.reason, check.key) for check in verification.endpoints] == [
        ("pinned", "verified"),
        ("identity-substituted", "verified"),
        ("signer-substitutes-elsewhere", "verified"),
    ]
    assert set(verification.recorded.others) <= {KnowledgeKind.CATALOGUE}
    assert (verification.report.confidence, verification.report.scope) == ("proven", "selective")


def test_by_hand(tmp_path: Path, world: World, pki: PrivatePKI) -> None:
    """The programs of the document, in its order, with nothing of this package: what was signed is found signed."""
    program("openssl")
    data = packed(recorded(world, EXAM, pki.issue([EXAM])), recorded(world, LMS, pki.issue([LMS])))
    (tmp_path / "evidence.json").write_bytes(bundle.redact(data, ["vantage"]))
    (tmp_path / "recorder.pem").write_bytes(
        KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    (source,) = [block for kind, block in BLOCKS if kind == "python"]
    done = subprocess.run(  # noqa: S603 - the document's own program
        [sys.executable, "-c", source], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "endpoint-1 is what was signed" in done.stdout
    assert "vantage was taken out" in done.stdout
    assert "CHANGED" not in done.stdout
    assert "signature scheme 0x403" in done.stdout
    _, _, by_hand, keys = [block for kind, block in BLOCKS if kind == "sh"]
    reported = shell(by_hand, tmp_path)
    assert "Signature Verified Successfully" in reported
    assert "Verified OK" in reported
    assert "CN = Exemplar ECDSA Issuing CA E5" in reported
    shell(keys, tmp_path)


def test_by_hand_finds_what_was_changed(tmp_path: Path, world: World, pki: PrivatePKI) -> None:
    """The document's program detects a changed part, and OpenSSL a changed manifest."""
    file = json.loads(packed(recorded(world, EXAM, pki.issue([EXAM]))))
    file["parts"][0]["content"] = file["parts"][0]["content"].replace('"port":443', '"port":444')
    (tmp_path / "evidence.json").write_bytes(json.dumps(file).encode())
    (program,) = [block for kind, block in BLOCKS if kind == "python"]
    done = subprocess.run(  # noqa: S603 - the document's own program
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "endpoint-1 WAS CHANGED" in done.stdout


def shell(script: str, folder: Path) -> str:
    """Run the commands of a block; each must succeed."""
    done = subprocess.run(  # noqa: S603 - the document's own commands
        ["bash", "-ec", script],  # noqa: S607 - the shell of the machine
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
