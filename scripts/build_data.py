"""Rebuild the package's data files from published sources. For maintainers; not needed at run time.

Room: scripts. Reads and writes only the files named on the command line.

    python scripts/build_data.py roots CERTIFI.whl [CERTIFI.whl ...]   (as `pip download` gives them)
    python scripts/build_data.py logs  LOG_LIST.json [...]             (merged into the existing list)

A list of logs is Google's log list v3, or records from another list (Firefox's table, Zeek's, an announcement):

    {"source": "where from", "date": "2026-11-17", "logs": [{"log_id": "...", ...}]}

A record of a known log needs only its `log_id`; a new one also `key`, `operator`, `description` and `kind`. Each may
have `states` (since when, by name) or one `state` with `since`; `temporal_interval` as in Google's list; and
`first_listed` and `last_listed` where those differ from the list's `date`, which is the day it describes. A list
without a `date` only adds facts about its logs.

The order of the lists does not matter: the earliest moment of a state is kept. What no list says is inferred again each
time (see `infer`) and marked.
"""

from __future__ import annotations

import argparse
import base64
import datetime as dt
import hashlib
import json
import re
import ssl
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import firefox_package

from detector.knowledge import ct_logs
from detector.knowledge.data_set import PARTS, shipped
from detector.knowledge.part import HORIZONS
from detector.model import KnowledgeKind
from detector.trust.certificate import Certificate
from detector.trust.ct_logs import ACCEPTED_STATES, LogState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DATA: Final = Path(__file__).resolve().parent.parent / "detector" / "knowledge" / "data"
_LABELLED: Final = re.compile(
    r'^# Label: "(?P<label>[^"]+)"$.*?(?P<pem>-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----)',
    re.DOTALL | re.MULTILINE,
)
_ISO_DAY: Final = re.compile(r"20\d\d-[01]\d-[0-3]\d")
_SHARD_NAME: Final = re.compile(r"(?P<year>20[1-9]\d)(?:[hH](?P<half>[12]))?")
"""Year and half-year in the names of logs: `Argon2023`, `Oak2024H1`, `Sphinx2026h2`, `log2026a`."""
_SHARD_MARGIN: Final = dt.timedelta(days=31)
"""Operators overlap neighbouring shards or shift them: Let's Encrypt by up to 20 days, TrustAsia and DigiCert by 8."""
_UNSETTLED: Final = frozenset({LogState.PENDING, LogState.REJECTED})
"""States of logs that are not shipped, because a log shipped as untrusted would stay untrusted."""
_WHOLE_DAY: Final = dt.timedelta(days=1, seconds=-1)
"""To the last second of a day. A log that retired on a day without a time may have signed until then."""
_NEVER_QUALIFIED: Final = "never qualified by a browser as far as known"
_FIELDS: Final = (
    *("operator", "description", "kind", "why", "states", "shard", "retired", "inferred"),
    *("first_listed", "last_listed", "log_id", "key"),
)
"""Fields of a log in ct_logs.json, in their order."""


def roots(wheels: list[Path]) -> None:
    """Write roots.json and root_certificates.json: each root that any of these certifi wheels labels.

    A root was removed on the date of the first wheel after the last one that has it. Do not use wheels older than 2018:
    their keys of 1024 bits can be factored, and a chain to a retired root accuses nobody.
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
    newest = dt.date(*_release(ordered[-1])[:3])
    head = _head(DATA / "roots.json", KnowledgeKind.ROOTS, newest)
    versions = [wheel.name.split("-")[1] for wheel in ordered]
    _write(DATA / "roots.json", {**head, "versions": versions}, {"roots": listed})
    ordered_certificates = [certificates[str(entry["sha256"])] for entry in listed]
    _write(DATA / "root_certificates.json", head, {"certificates": ordered_certificates})


def firefox(packages: list[Path]) -> None:
    """Write intermediates.json and revocations.json from Debian's package of Firefox."""
    package = firefox_package.read(packages[-1])
    listed = package.settings("intermediates")
    _write_part(
        "intermediates.json",
        listed,
        {
            "certificates": sorted({record["derHash"] for record in listed["data"]}),
            "keys": sorted({record["pubKeyHash"] for record in listed["data"] if "pubKeyHash" in record}),
            "names": sorted({_sha256(record["subjectDN"]) for record in listed["data"] if "subjectDN" in record}),
        },
        package.source,
    )
    listed = package.settings("onecrl")
    issuers: dict[str, dict[str, list[str]]] = {}
    keys = []
    for record in sorted(listed["data"], key=lambda record: (_listed_on(record), record.get("serialNumber", ""))):
        if "issuerName" in record:
            days = issuers.setdefault(record["issuerName"], {})
            if all(record["serialNumber"] not in serials for serials in days.values()):
                days.setdefault(_listed_on(record), []).append(record["serialNumber"])
        else:
            keys.append(
                {"subject": record["subject"], "spki_sha256": record["pubKeyHash"], "since": _listed_on(record)}
            )
    _write_part(
        "revocations.json",
        listed,
        {
            "issuers": [{"issuer": issuer, "serials": days} for issuer, days in sorted(issuers.items())],
            "keys": sorted(keys, key=lambda key: (key["subject"], key["spki_sha256"])),
        },
        package.source,
    )


def _sha256(encoded: str) -> str:
    return base64.b64encode(hashlib.sha256(base64.b64decode(encoded)).digest()).decode("ascii")


def _listed_on(record: dict[str, Any]) -> str:
    """The day a record of Remote Settings says it was made, else that of its last change."""
    created = str(record["details"].get("created", ""))[:10]
    return created if _ISO_DAY.fullmatch(created) else _day(record["last_modified"]).isoformat()


def _day(milliseconds: int) -> dt.date:
    return dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC).date()


def _write_part(name: str, collection: dict[str, Any], content: dict[str, list[Any]], source: str) -> None:
    kind = next(kind for kind, part in PARTS.items() if part.name == name)
    head = _head(DATA / name, kind, _day(collection["timestamp"]))
    _write(DATA / name, {**head, "sources": [source]}, content)


def merge(lists: list[Path]) -> None:
    """Merge these lists into ct_logs.json; names of known logs stay unchanged."""
    target = DATA / "ct_logs.json"
    before: dict[str, Any] = json.loads(target.read_text("utf-8"))
    content = json.loads(target.read_text("utf-8"))
    entries: dict[str, dict[str, Any]] = {entry["log_id"]: entry for entry in content.pop("logs")}
    for path in lists:
        listed = json.loads(path.read_text("utf-8"))
        if "operators" in listed:
            listed = from_google(path)
        date = listed.get("date")
        content["date"] = max(content["date"], date or "")
        if listed["source"] not in content["sources"]:
            content["sources"].append(listed["source"])
        for record in listed["logs"]:
            _add(entries.setdefault(record["log_id"], {}), record, date)
    for entry in entries.values():
        infer(entry, newest=content["date"])
    ordered = sorted(entries.values(), key=lambda entry: (entry["operator"], entry["description"], entry["log_id"]))
    logs = [{key: entry[key] for key in _FIELDS if key in entry} for entry in ordered]
    if {**content, "logs": logs} != before:
        content |= _head(target, KnowledgeKind.LOGS, dt.date.fromisoformat(content["date"]))
    _write(target, content, {"logs": logs})


def from_google(path: Path) -> dict[str, Any]:
    """Convert Google's log list v3 into records, without logs that may still be accepted. Raises `LogListError`."""
    listed = ct_logs.load(path, known=shipped().logs)
    if listed.date is None:
        raise SystemExit(f"{path}: no date in the list; take one with log_list_timestamp")
    return {
        "source": f"Google log list v3 of {listed.date}",
        "date": listed.date.isoformat(),
        "logs": [
            {
                "log_id": base64.b64encode(log.log_id).decode("ascii"),
                "key": base64.b64encode(log.key).decode("ascii"),
                "operator": log.operator,
                "description": log.description,
                "kind": log.kind.value,
                "why": log.why,
                "states": {state.value: since.isoformat() for state, since in log.states.items() if since is not None},
                "temporal_interval": {
                    "start_inclusive": log.shard.start.isoformat(),
                    "end_exclusive": log.shard.end.isoformat(),
                }
                if log.shard
                else None,
            }
            for log in (*listed.logs.values(), *listed.untrusted.values())
            if not log.states.keys() & _UNSETTLED
        ],
    }


def _add(entry: dict[str, Any], record: dict[str, Any], date: str | None) -> None:
    """Merge a record into an entry."""
    states = record.get("states") or ({record["state"]: record["since"]} if "state" in record else {})
    why = record.get("why") or ("" if ACCEPTED_STATES.intersection(states) else _NEVER_QUALIFIED)
    if not entry and why:
        entry["why"] = why
    for name in ("operator", "description", "kind", "log_id", "key"):
        if name in record:
            entry.setdefault(name, record[name])
    known = entry.setdefault("states", {})
    for state, since in states.items():
        moment = _moment(since, end=state == LogState.RETIRED)
        known[state] = min(known.get(state, moment), moment)
    if (interval := record.get("temporal_interval")) is not None:
        entry["shard"] = [_moment(interval["start_inclusive"]), _moment(interval["end_exclusive"])]
        entry["inferred"] = [name for name in entry.get("inferred", ()) if name != "shard"]
    first, last = record.get("first_listed") or date, record.get("last_listed") or date
    if first and last:
        entry["first_listed"] = min(entry.get("first_listed", first), first)
        entry["last_listed"] = max(entry.get("last_listed", last), last)


def infer(entry: dict[str, Any], *, newest: str) -> None:
    """Infer what no list says about a log but what follows from the lists.

    * Its shard, from the year or half-year in its name, `_SHARD_MARGIN` wider on both sides. This contains the interval
      of every log whose interval was published (a test checks the shipped list).
    * Its retirement, where it has no shard: no later than the end of the day of its last listing, if newer lists omit
      it. A log with a shard needs none: the certificates it could sign for have expired.
    """
    for name in entry.pop("inferred", ()):
        del entry[name]
    inferred = []
    if "shard" not in entry and (shard := shard_of(entry["description"])) is not None:
        entry["shard"] = [_moment(edge.isoformat()) for edge in shard]
        inferred.append("shard")
    unbounded = "shard" not in entry and "retired" not in entry["states"]
    if unbounded and entry["last_listed"] < newest:
        entry["retired"] = _moment(entry["last_listed"], end=True)
        inferred.append("retired")
    if inferred:
        entry["inferred"] = inferred


def shard_of(description: str) -> tuple[dt.date, dt.date] | None:
    """The days between which certificates of a log of this name end, or None when the name has no year."""
    named = _SHARD_NAME.search(description)
    if named is None:
        return None
    year, half = int(named["year"]), named["half"]
    start = dt.date(year, 7 if half == "2" else 1, 1)
    end = dt.date(year, 7, 1) if half == "1" else dt.date(year + 1, 1, 1)
    return start - _SHARD_MARGIN, end + _SHARD_MARGIN


def _moment(text: str, *, end: bool = False) -> str:
    """Format a day, or a moment with its offset, as RFC 3339 in UTC. A day is its first second, with `end` its last."""
    moment = dt.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC) + (_WHOLE_DAY if end else dt.timedelta())
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _head(target: Path, kind: KnowledgeKind, date: dt.date) -> dict[str, Any]:
    """The head of a part's next release."""
    version = json.loads(target.read_text("utf-8"))["version"] + 1 if target.exists() else 1
    horizon = date + HORIZONS[kind]
    return {"schema": PARTS[kind].schema, "version": version, "date": str(date), "horizon": str(horizon)}


def _release(wheel: Path) -> tuple[int, ...]:
    """The numbers of the release in a wheel's file name (certifi-2026.10.19.post1-py3-none-any.whl)."""
    return tuple(map(int, re.findall(r"\d+", wheel.name.split("-")[1])))


def _write(target: Path, head: dict[str, Any], content: Mapping[str, Sequence[object]]) -> None:
    """Write one entry per line, so that a changed entry is a changed line."""
    fields = [f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items()]
    for name, entries in content.items():
        body = ",\n".join("  " + json.dumps(entry, ensure_ascii=False, separators=(",", ":")) for entry in entries)
        fields.append(f' "{name}": [\n{body}\n ]')
    target.write_text("{\n" + ",\n".join(fields) + "\n}\n", encoding="utf-8", newline="\n")
    print(f"{target}: {', '.join(f'{len(entries)} {name}' for name, entries in content.items())}")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Rebuild the package's data files.")
    parser.add_argument("what", choices=("roots", "logs", "firefox"))
    parser.add_argument("files", nargs="+", type=Path)
    arguments = parser.parse_args()
    {"roots": roots, "logs": merge, "firefox": firefox}[arguments.what](arguments.files)


if __name__ == "__main__":
    main()
