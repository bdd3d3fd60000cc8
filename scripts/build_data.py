"""Rebuild the files of the data set from published sources, show what changed, and refuse what does not hold.

Room: scripts. Reads the files named on the command line, and writes the data folder.

    python scripts/build_data.py roots     CERTIFI.whl [CERTIFI.whl ...]   (as `pip download` gives them)
    python scripts/build_data.py logs      LOG_LIST.json [...]             (merged into the existing list)
    python scripts/build_data.py firefox   FIREFOX-ESR.deb                 (as `apt-get download firefox-esr` gives it)
    python scripts/build_data.py catalogue                                 (edited by hand: its next version)
    python scripts/build_data.py check                                     (writes nothing)

`firefox` makes the lists of intermediates and revocations, merges the table of logs, and takes over what Firefox limits
roots to. Nothing is written when a check fails (`data_checks`), or with --dry-run.

A list of logs is Google's log list v3, or records from another list (Zeek's, an announcement):

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

import data_checks
import firefox_package
from data_checks import CATALOGUE, CERTIFICATES, ROOTS

from detector.knowledge import ct_logs
from detector.knowledge.data_set import PARTS, canaries_folder, shipped
from detector.knowledge.part import HORIZONS
from detector.model import KnowledgeKind
from detector.trust.certificate import Certificate
from detector.trust.ct_logs import ACCEPTED_STATES, LogState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

DATA: Final = Path(__file__).resolve().parent.parent / "detector" / "knowledge" / "data"
CANARIES: Final = canaries_folder() / data_checks.CANARIES
LOGS: Final = "ct_logs.json"
_LIMITS: Final = ("distrust_after", "permitted_names", "limits_source")
"""Fields of a root that say what a browser limits it to."""
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
    *("first_listed", "last_listed", "log_id", "key", "monitoring_url"),
)
"""Fields of a log in ct_logs.json, in their order."""


def roots(wheels: list[Path]) -> dict[str, bytes]:
    """The files of roots: each root that any of these certifi wheels labels.

    A root was removed on the date of the first wheel after the last one that has it. Do not use wheels older than 2018:
    their keys of 1024 bits can be factored, and a chain to a retired root accuses nobody. What a root is limited to is
    taken over from the existing file.
    """
    found: dict[str, dict[str, Any]] = {}
    certificates: dict[str, str] = {}
    ordered = sorted(wheels, key=_release)
    for wheel in ordered:
        date = dt.date(*_release(wheel)[:3]).isoformat()
        version = wheel.name.split("-")[1]
        carried = set()
        for label, certificate in _labelled(wheel):
            sha256 = certificate.sha256.hex()
            carried.add(sha256)
            certificates[sha256] = base64.b64encode(certificate.der).decode("ascii")
            first_seen = found[sha256]["first_seen"] if sha256 in found else version
            found[sha256] = {
                "label": label,
                "sha256": sha256,
                "spki_sha256": certificate.spki_sha256.hex() if certificate.spki_sha256 else "",
                "subject": certificate.subject.text if certificate.subject else "",
                "first_seen": first_seen,
                "last_seen": version,
            }
        for sha256, entry in found.items():
            if sha256 not in carried:
                entry.setdefault("removed", date)
    limits = {
        root["sha256"]: {name: root[name] for name in _LIMITS if name in root} for root in _content(ROOTS)["roots"]
    }
    listed = [{**entry, **limits.get(entry["sha256"], {})} for entry in found.values()]
    versions = [wheel.name.split("-")[1] for wheel in ordered]
    return _root_files(dt.date(*_release(ordered[-1])[:3]), versions, listed, certificates)


def _labelled(wheel: Path) -> Iterator[tuple[str, Certificate]]:
    """The roots in a wheel of certifi with their labels."""
    with zipfile.ZipFile(wheel) as archive:
        bundle = archive.read("certifi/cacert.pem").decode("utf-8")
    for match in _LABELLED.finditer(bundle):
        certificate = Certificate.read(ssl.PEM_cert_to_DER_cert(match["pem"]))
        if certificate.subject is None or certificate.spki_sha256 is None:
            raise SystemExit(f"{wheel}: the root {match['label']} cannot be read")
        yield match["label"], certificate


def _root_files(
    date: dt.date, versions: list[str], roots: list[dict[str, Any]], certificates: Mapping[str, str]
) -> dict[str, bytes]:
    """Both files, of one version."""
    listed = sorted(roots, key=lambda root: (root["label"], root["sha256"]))
    file = _release_of(ROOTS, date, {"versions": versions}, {"roots": listed})
    head = {name: json.loads(file)[name] for name in ("schema", "version", "date", "horizon")}
    return {
        ROOTS: file,
        CERTIFICATES: _encode(head, {"certificates": [certificates[root["sha256"]] for root in listed]}),
    }


def firefox(packages: list[Path]) -> dict[str, bytes]:
    """The files of intermediates, revocations, logs and roots, with what the newest of these packages says."""
    package = max(map(firefox_package.read, packages), key=lambda package: package.date)
    table = {"source": package.source, "date": package.date.isoformat(), "logs": firefox_package.logs(package)}
    return {**collections(package), **merged([table]), **limited(package)}


def collections(package: firefox_package.Package) -> dict[str, bytes]:
    """The lists of intermediates and revocations of Remote Settings."""
    known, revoked = package.settings("intermediates"), package.settings("onecrl")
    hashes = {
        "certificates": sorted({record["derHash"] for record in known["data"]}),
        "keys": sorted({record["pubKeyHash"] for record in known["data"] if "pubKeyHash" in record}),
        "names": sorted({_sha256(record["subjectDN"]) for record in known["data"] if "subjectDN" in record}),
    }
    issuers: dict[str, dict[str, list[str]]] = {}
    keys = []
    for record in sorted(revoked["data"], key=lambda record: (_listed_on(record), record.get("serialNumber", ""))):
        day = _listed_on(record)
        if "issuerName" not in record:
            keys.append({"subject": record["subject"], "spki_sha256": record["pubKeyHash"], "since": day})
            continue
        days = issuers.setdefault(record["issuerName"], {})
        if all(record["serialNumber"] not in serials for serials in days.values()):
            days.setdefault(day, []).append(record["serialNumber"])
    pairs = {
        "issuers": [{"issuer": issuer, "serials": days} for issuer, days in sorted(issuers.items())],
        "keys": sorted(keys, key=lambda key: (key["subject"], key["spki_sha256"])),
    }
    head = {"sources": [package.source]}
    return {
        "intermediates.json": _release_of("intermediates.json", _day(known["timestamp"]), head, hashes),
        "revocations.json": _release_of("revocations.json", _day(revoked["timestamp"]), head, pairs),
    }


def _sha256(encoded: str) -> str:
    return base64.b64encode(hashlib.sha256(base64.b64decode(encoded)).digest()).decode("ascii")


def _listed_on(record: dict[str, Any]) -> str:
    """The day a record of Remote Settings says it was made, else that of its last change."""
    created = str(record["details"].get("created", ""))[:10]
    return created if _ISO_DAY.fullmatch(created) else _day(record["last_modified"]).isoformat()


def _day(milliseconds: int) -> dt.date:
    return dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC).date()


def limited(package: firefox_package.Package) -> dict[str, bytes]:
    """The files of roots, with what Firefox limits each root to that it has; what it no longer has keeps its limits."""
    content, certificates = _content(ROOTS), _content(CERTIFICATES)["certificates"]
    ders = [base64.b64decode(text) for text in certificates]
    days = firefox_package.anchors(package, ders)
    subjects = [name.der for der in ders if (name := Certificate.read(der).subject)]
    names = firefox_package.permitted_names(package, subjects)
    listed = []
    for root, der in zip(content["roots"], ders, strict=True):
        subject = Certificate.read(der).subject
        found = {
            "distrust_after": day.isoformat() if (day := days.get(bytes.fromhex(root["sha256"]))) else None,
            "permitted_names": [name.removeprefix(".") for name in names.get(subject.der if subject else b"", ())],
        }
        limits = {name: value for name, value in found.items() if value}
        if bytes.fromhex(root["sha256"]) not in days:
            listed.append(root)
            continue
        bare = {name: value for name, value in root.items() if name not in _LIMITS}
        unchanged = {name: root[name] for name in limits if name in root} == limits
        source = root.get("limits_source") if unchanged else package.source
        listed.append({**bare, **limits, **({"limits_source": source} if limits else {})})
    by_sha256 = dict(zip((root["sha256"] for root in content["roots"]), certificates, strict=True))
    return _root_files(dt.date.fromisoformat(content["date"]), content["versions"], listed, by_sha256)


def catalogue(_: list[Path]) -> dict[str, bytes]:
    """The catalogue as it was edited, with the version after that of the last commit and today's date."""
    path = DATA / CATALOGUE
    edited = path.read_text("utf-8")
    today = dt.datetime.now(dt.UTC).date()
    version = json.loads(edited)["version"] + 1
    fields = {"version": version, "date": f'"{today}"', "horizon": f'"{today + HORIZONS[KnowledgeKind.CATALOGUE]}"'}
    for name, value in fields.items():
        edited = re.sub(rf'(?m)^ "{name}": [^,\n]*', f' "{name}": {value}', edited, count=1)
    return {CATALOGUE: edited.encode("utf-8")}


def merge(lists: list[Path]) -> dict[str, bytes]:
    """The file of logs with what these lists say."""
    read = [json.loads(path.read_text("utf-8")) for path in lists]
    return merged(from_google(path) if "operators" in one else one for path, one in zip(lists, read, strict=True))


def merged(lists: Iterable[dict[str, Any]]) -> dict[str, bytes]:
    """The file of logs with these records; names of known logs stay unchanged."""
    content = _content(LOGS)
    entries: dict[str, dict[str, Any]] = {entry["log_id"]: entry for entry in content["logs"]}
    newest, sources = content["date"], list(content["sources"])
    for listed in lists:
        date = listed.get("date")
        newest = max(newest, date or "")
        if listed["source"] not in sources:
            sources.append(listed["source"])
        for record in listed["logs"]:
            _add(entries.setdefault(record["log_id"], {}), record, date)
    for entry in entries.values():
        infer(entry, newest=newest)
    ordered = sorted(entries.values(), key=lambda entry: (entry["operator"], entry["description"], entry["log_id"]))
    logs = [{key: entry[key] for key in _FIELDS if key in entry} for entry in ordered]
    return {LOGS: _release_of(LOGS, dt.date.fromisoformat(newest), {"sources": sources}, {"logs": logs})}


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
                **({"monitoring_url": log.monitoring_url} if log.monitoring_url else {}),
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
    if "monitoring_url" in record:
        entry["monitoring_url"] = record["monitoring_url"]
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


def _content(name: str) -> dict[str, Any]:
    """An existing file; what a first one is made from where there is none."""
    path = DATA / name
    empty = {"version": 0, "date": "", "sources": [], "roots": [], "logs": []}
    content: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else empty
    return content


def _release_of(name: str, date: dt.date, fields: Mapping[str, Any], content: Mapping[str, Sequence[object]]) -> bytes:
    """A file: the next version of the existing one, or that one where nothing else changed. Its day never goes back."""
    before = _content(name)
    kind = next(kind for kind, part in PARTS.items() if part.name == name)
    date = max(date, dt.date.fromisoformat(before["date"] or date.isoformat()))
    head = {"schema": PARTS[kind].schema, "version": before["version"]}
    rest = {"date": str(date), "horizon": str(date + HORIZONS[kind]), **fields}
    if {**head, **rest, **content} != before:
        head["version"] += 1
    return _encode({**head, **rest}, content)


def _release(wheel: Path) -> tuple[int, ...]:
    """The numbers of the release in a wheel's file name (certifi-2026.10.19.post1-py3-none-any.whl)."""
    return tuple(map(int, re.findall(r"\d+", wheel.name.split("-")[1])))


def _encode(head: Mapping[str, Any], content: Mapping[str, Sequence[object]]) -> bytes:
    """Write one entry per line, so that a changed entry is a changed line."""
    fields = [f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items()]
    for name, entries in content.items():
        body = ",\n".join("  " + json.dumps(entry, ensure_ascii=False, separators=(",", ":")) for entry in entries)
        fields.append(f' "{name}": [\n{body}\n ]')
    return ("{\n" + ",\n".join(fields) + "\n}\n").encode("utf-8")


def release(made: Mapping[str, bytes], *, dry_run: bool = False) -> None:
    """Print what these files change, and write them. Raises SystemExit, and writes nothing, when a check fails."""
    before = {path.name: path.read_bytes() for path in sorted(DATA.glob("*.json"))}
    if CANARIES.is_file():
        before[CANARIES.name] = CANARIES.read_bytes()
    after = {**before, **made}
    for line in data_checks.changes(after, before):
        print(line)
    if problems := list(data_checks.problems(after, before)):
        raise SystemExit("\n".join(["Nothing is written:", *problems]))
    for name, data in made.items():
        if not dry_run and data != before.get(name):
            (DATA / name).write_bytes(data)


_COMMANDS: Final[dict[str, Callable[[list[Path]], dict[str, bytes]]]] = {
    "roots": roots,
    "logs": merge,
    "firefox": firefox,
    "catalogue": catalogue,
    "check": lambda _: {},
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Rebuild the files of the data set.")
    parser.add_argument("what", choices=sorted(_COMMANDS))
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--dry-run", action="store_true", help="show the changes and the checks, write nothing")
    arguments = parser.parse_intermixed_args(argv)
    if bool(arguments.files) != (arguments.what in ("roots", "logs", "firefox")):
        parser.error(f"{arguments.what}: {'takes no files' if arguments.files else 'name the source files'}")
    release(_COMMANDS[arguments.what](arguments.files), dry_run=arguments.dry_run)


if __name__ == "__main__":
    main()
