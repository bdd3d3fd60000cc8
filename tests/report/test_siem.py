"""Formats of security monitoring: each is read by a reader of its own, whatever certificates say.

Room: tests of report. The documented fields are those that are written.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py_ocsf_models.events.findings.detection_finding import DetectionFinding
from support.example_runs import EXAM, example_runs
from support.profiles import examples

from detector.model import Attribution, Verdict
from detector.report import siem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import World

    from detector.model import Report

LINES: Final = tuple(siem.LINES)
DOCUMENTED: Final = Path(__file__).parents[2] / "docs" / "siem.md"
HOSTILE: Final = st.text(
    st.characters(codec="utf-8") | st.sampled_from('\r\n|\\=\x00\x1b\u202e\u2028<>" '), max_size=700
)
"""What a certificate may say: line ends, separators and escapes of every format, direction marks, more than fits."""


@pytest.fixture(scope="module")
def runs(world: World) -> dict[str, Report]:
    return example_runs(world)


def documented(form: str) -> dict[str, str]:
    """The fields of a format and their types, as docs/siem.md has them."""
    section = DOCUMENTED.read_text(encoding="utf-8").partition(f"\n### {form}\n")[2].partition("\n### ")[0]
    return dict(re.findall(r"^\| `([^`]+)` \| (\w+) \|", section, re.MULTILINE))


def fields(value: Any, path: str = "") -> Iterator[tuple[str, str]]:  # noqa: ANN401 - any JSON value
    """Every field below a JSON value, with its type; of an array, also those of the objects in it."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from fields(one, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and any(isinstance(one, dict) for one in value) and path != "observables":
        for one in value:
            yield from fields(one, path)
    else:
        kinds = {bool: "boolean", int: "integer", str: "string", list: "array"}
        yield path, kinds[type(value)]


def read_cef(line: str) -> tuple[list[str], dict[str, str]]:
    """The header and the extension of a CEF line, read from left to right."""
    assert line.startswith("CEF:0|")
    header, at, current = list[str](), len("CEF:0|"), ""
    while len(header) < 6:
        character = line[at]
        if character == "\\":
            at += 1
            current += line[at]
        elif character == "|":
            header.append(current)
            current = ""
        else:
            current += character
        at += 1
    extension, key = dict[str, str](), ""
    for token in re.split(r"(?:^| )(\w+)(?<!\\)=", line[at:]):
        if key:
            extension[key] = token.replace("\\=", "=").replace("\\\\", "\\")
            key = ""
        elif token:
            key = token
    return header, extension


@pytest.mark.parametrize("form", ["ecs", "ocsf", "sarif"])
def test_documented_fields(form: str, runs: dict[str, Report]) -> None:
    """What eight networks give has the documented fields and types, and every documented field is there somewhere."""
    known, seen = documented(form), set[str]()
    first, *others = runs["clean"].results
    connected = msgspec.structs.replace(
        first.observation, tls_version="TLSv1.3", cipher="TLS_AES_128_GCM_SHA256", group="x25519", alpn="h2"
    )
    recorded = msgspec.structs.replace(first, observation=connected)
    for report in (*runs.values(), msgspec.structs.replace(runs["clean"], results=(recorded, *others))):
        text = siem.render(report, form)
        for line in [text] if form == "sarif" else text.splitlines():
            found = dict(fields(json.loads(line)))
            assert found.items() <= known.items(), found.items() - known.items()
            seen |= found.keys()
    assert seen == known.keys()


def test_documented_fields_of_cef(runs: dict[str, Report]) -> None:
    """CEF's extension has the documented keys, each custom string with the label that the page gives."""
    known, seen = documented("cef"), set[str]()
    page = DOCUMENTED.read_text(encoding="utf-8")
    for report in runs.values():
        for line in siem.render(report, "cef").splitlines():
            header, extension = read_cef(line)
            assert header[:2] == [siem.PRODUCT, "detector"]
            for key in [key for key in extension if key.endswith("Label")]:
                assert f"deviceCustomString{key[2]}: {extension.pop(key)}".partition(" or ")[0] in page
            assert extension.keys() <= known.keys()
            assert all(extension[key].isdigit() for key in extension if known[key] == "integer")
            seen |= extension.keys()
    assert seen == known.keys()


def test_ocsf_models(runs: dict[str, Report]) -> None:
    """Every line of OCSF is a Detection Finding to a library that has the schema's classes."""
    for name, report in runs.items():
        for line, result in zip(siem.render(report, "ocsf").splitlines(), report.results, strict=True):
            finding = DetectionFinding.model_validate_json(line)
            assert (finding.class_uid, finding.metadata.version) == (2004, siem.OCSF_VERSION), name
            assert finding.type_uid == finding.class_uid * 100 + finding.activity_id
            assert (finding.activity_id == 3) is (result.verdict is Verdict.CLEAN)


def test_identifiers_follow_the_endpoint(runs: dict[str, Report]) -> None:
    """A clean result closes the finding of the same endpoint from the same place, and no other."""
    by_endpoint: dict[str, set[str]] = {}
    for name in ("clean", "intercepted-40", "stale-pins"):
        for line, result in zip(siem.render(runs[name], "ocsf").splitlines(), runs[name].results, strict=True):
            by_endpoint.setdefault(result.endpoint.name, set()).add(json.loads(line)["finding_info"]["uid"])
    assert all(len(identifiers) == 1 for identifiers in by_endpoint.values())
    assert len(set.union(*by_endpoint.values())) == len(by_endpoint)
    moved = msgspec.structs.replace(runs["clean"], vantage="hall")
    assert json.loads(siem.render(moved, "ocsf").splitlines()[0])["finding_info"]["uid"] not in set.union(
        *by_endpoint.values()
    )


@pytest.mark.parametrize("form", [*LINES, "sarif"])
def test_uncertain_results_accuse_nobody(form: str, runs: dict[str, Report]) -> None:
    """Below `probable` no event is an alert, and none has the name of a party or of a private CA."""
    text = siem.render(runs["possible"], form)
    line = next(line for line in siem.render(runs["possible"], "ecs").splitlines() if EXAM[0] in line)
    assert json.loads(line)["event"]["kind"] == "event"
    assert "Campus" not in text
    assert "ampus" in siem.render(runs["one-of-five"], form)


@given(name=HOSTILE, product=HOSTILE, vantage=HOSTILE)
@settings(max_examples=examples(150), deadline=None)
def test_hostile_text_stays_in_its_field(name: str, product: str, vantage: str, runs: dict[str, Report]) -> None:
    """Whatever issuer, product and place are called, an event stays one line, and other fields are the same."""
    report = runs["one-of-five"]
    result = next(one for one in report.results if one.verdict is Verdict.MIDDLEWARE)
    leaf, *rest = result.observation.chain
    observed = msgspec.structs.replace(
        result.observation, chain=(msgspec.structs.replace(leaf, issuer=name, subject=name), *rest)
    )
    hostile = msgspec.structs.replace(
        result, observation=observed, attribution=Attribution(product=product, issuer=name)
    )
    event = siem.Event(hostile, report.finished, vantage)
    for form, write in siem.LINES.items():
        line = write(event)
        assert line.endswith("\n"), form
        assert len(line.splitlines()) == 1, form
    ecs, ocsf = json.loads(siem.ecs_event(event)), json.loads(siem.ocsf_event(event))
    assert ecs["destination"]["domain"] == ocsf["observables"][0]["value"] == result.endpoint.host
    assert ecs["labels"].get("interceptor", "")[:500] == product[:500]
    header, extension = read_cef(siem.cef_event(event))
    assert (len(header), header[3], extension["dhost"]) == (6, result.reason, result.endpoint.host)
    assert (extension["cs1"], extension["dpt"]) == ("middleware", str(result.endpoint.port))
    if product.strip() and product.isprintable() and len(product) <= siem.TEXT_CHARACTERS_MAX:
        assert extension["cs4"] == product
    json.loads(siem.sarif(msgspec.structs.replace(report, results=(hostile,), vantage=vantage)))


def test_syslog_form(runs: dict[str, Report]) -> None:
    """A syslog line has RFC 5424's header without host name and process, and its severity follows the verdict."""
    shape = re.compile(
        r"<(\d+)>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z - tls-middleware-detector - [a-z-]{1,32} - CEF:0\|"
    )
    for report in runs.values():
        for line, result in zip(siem.render(report, "syslog").splitlines(), report.results, strict=True):
            found = shape.match(line)
            assert found is not None, line
            severity = int(found[1]) % 8
            assert (severity == 6) is (result.verdict is Verdict.CLEAN)
            assert len(line.encode()) < 2048
