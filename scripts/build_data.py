"""Rebuild the package's data files from what was published. For maintainers; nothing at run time needs it.

Room: scripts. Reads and writes the files named on the command line, nothing else.

    python scripts/build_data.py roots CERTIFI.whl [CERTIFI.whl ...]   (oldest to newest, as `pip download` gives them)
    python scripts/build_data.py logs  LOG_LIST.json [...]             (Google log list v3, merged into what is there)
"""

from __future__ import annotations

import argparse
import base64
import datetime as dt
import json
import re
import ssl
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from detector.trust import logs
from detector.trust.certificate import Certificate

if TYPE_CHECKING:
    from collections.abc import Sequence

DATA: Final = Path(__file__).resolve().parent.parent / "detector" / "trust" / "data"
_LABELLED: Final = re.compile(
    r'^# Label: "(?P<label>[^"]+)"$.*?(?P<pem>-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----)',
    re.DOTALL | re.MULTILINE,
)


def roots(wheels: list[Path]) -> None:
    """Write known_roots.json and root_certificates.json: each root that any of these certifi wheels labels.

    A root was removed on the date of the first wheel after the last one that has it. Wheels older than 2018 have no
    business here: they carry keys of 1024 bits, which anybody with a budget can factor, and a chain to a retired root
    accuses nobody.
    """
    found: dict[str, dict[str, str | None]] = {}
    certificates: dict[str, str] = {}
    ordered = sorted(wheels, key=_release)
    for wheel in ordered:
        date = dt.date(*_release(wheel)[:3]).isoformat()
        version = wheel.name.split("-")[1]
        with zipfile.ZipFile(wheel) as archive:
            bundle = archive.read("certifi/cacert.pem").decode("utf-8")
        carried = set()
        for match in _LABELLED.finditer(bundle):
            certificate = Certificate.read(ssl.PEM_cert_to_DER_cert(match["pem"]))
            if certificate.subject is None or certificate.spki_sha256 is None:
                raise SystemExit(f"{wheel}: the root {match['label']} cannot be read")
            sha256 = certificate.sha256.hex()
            carried.add(sha256)
            certificates[sha256] = base64.b64encode(certificate.der).decode("ascii")
            first_seen = found[sha256]["first_seen"] if sha256 in found else version
            found[sha256] = {
                "label": match["label"],
                "sha256": sha256,
                "spki_sha256": certificate.spki_sha256.hex(),
                "subject": certificate.subject.text,
                "first_seen": first_seen,
                "last_seen": version,
            }
        for sha256, entry in found.items():
            if sha256 not in carried:
                entry.setdefault("removed", date)
    listed = sorted(found.values(), key=lambda entry: (entry["label"], entry["sha256"]))
    head = {"schema": 2, "versions": [wheel.name.split("-")[1] for wheel in ordered]}
    _write(DATA / "known_roots.json", head, "roots", listed)
    _write(
        DATA / "root_certificates.json", {"schema": 1}, "certificates", [certificates[str(e["sha256"])] for e in listed]
    )


def merge(lists: list[Path]) -> None:
    """Add the logs of these lists to ct_logs.json; a log already there keeps what is said of it."""
    target = DATA / "ct_logs.json"
    content: dict[str, Any] = json.loads(target.read_text("utf-8"))
    entries: list[dict[str, Any]] = content.pop("logs")
    known = {entry["log_id"] for entry in entries}
    for path in lists:
        listed = logs.load(path)
        if listed.date is not None:
            content["date"] = max(content["date"], listed.date.isoformat())
        for log in (*listed.logs.values(), *listed.untrusted.values()):
            log_id = base64.b64encode(log.log_id).decode("ascii")
            if log_id not in known:
                known.add(log_id)
                why = {"why": log.why} if log.why else {}
                entries.append(
                    {
                        "operator": log.operator,
                        "description": log.description,
                        "kind": log.kind.value,
                        "public": not log.why,
                        **why,
                        "log_id": log_id,
                        "key": base64.b64encode(log.key).decode("ascii"),
                    }
                )
    entries.sort(key=lambda entry: (entry["operator"], entry["description"], entry["log_id"]))
    _write(target, content, "logs", entries)


def _release(wheel: Path) -> tuple[int, ...]:
    """Give the numbers of the release in a wheel's file name (certifi-2026.10.19.post1-py3-none-any.whl)."""
    return tuple(map(int, re.findall(r"\d+", wheel.name.split("-")[1])))


def _write(target: Path, head: dict[str, Any], name: str, entries: Sequence[object]) -> None:
    """One entry to a line, so that a change of one entry is a change of one line."""
    lines = [f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)},\n" for key, value in head.items()]
    body = ",\n".join("  " + json.dumps(entry, ensure_ascii=False, separators=(",", ":")) for entry in entries)
    target.write_text("{\n" + "".join(lines) + f' "{name}": [\n{body}\n ]\n}}\n', encoding="utf-8", newline="\n")
    print(f"{target}: {len(entries)} {name}")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Rebuild the package's data files.")
    parser.add_argument("what", choices=("roots", "logs"))
    parser.add_argument("files", nargs="+", type=Path)
    arguments = parser.parse_args()
    {"roots": roots, "logs": merge}[arguments.what](arguments.files)


if __name__ == "__main__":
    main()
