"""Tests of the data files' decoding: bounded, strict, and one typed error that names file and field.

Room: tests. The damaged files are made from the shipped ones.
"""

from __future__ import annotations

import copy
import json
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.errors import KnowledgeError, UnknownSchemaError
from detector.knowledge import data_set
from detector.knowledge.browser_offers import BrowserOffers, BrowserOffersFile
from detector.knowledge.catalogue import Catalogue
from detector.knowledge.catalogue.entries import PARTIAL_MAX, CatalogueFile
from detector.knowledge.client_hellos import HelloProfiles
from detector.knowledge.ct_logs import LogsFile
from detector.knowledge.intermediates import IntermediatesFile
from detector.knowledge.known_roots import KnownRoots, RootCertificates
from detector.knowledge.part import PART_BYTES_MAX, Head, decode
from detector.knowledge.revocations import RevocationsFile
from detector.model import KnowledgeKind

FORMS: Final[dict[str, type[Head]]] = {
    "roots.json": KnownRoots,
    "root_certificates.json": RootCertificates,
    "ct_logs.json": LogsFile,
    "intermediates.json": IntermediatesFile,
    "revocations.json": RevocationsFile,
    "interceptors.json": CatalogueFile,
    "client_hellos.json": HelloProfiles,
    "browser_offers.json": BrowserOffersFile,
}
"""The files of a set, but the canaries, which are a pin file."""
SHIPPED: Final = {name: (data_set.DATA / name).read_bytes() for name in FORMS}


def shortened(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """The same with at most two entries in each list, so that damaging it is quick."""
    if isinstance(value, dict):
        return {key: shortened(one) for key, one in value.items()}
    return [shortened(one) for one in value[:2]] if isinstance(value, list) else value


SHORT: Final[dict[str, Any]] = {name: shortened(json.loads(data)) for name, data in SHIPPED.items()}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:  # noqa: ANN401 - any JSON value
    """The path to every value within one."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, one in inner for found in places(one, (*path, key)))]


def read(name: str, data: bytes) -> Head:
    """Decode a file, and use it as a data set does."""
    part = decode(data, FORMS[name], name=name, schema=SHORT[name]["schema"])
    if isinstance(part, CatalogueFile):
        Catalogue(part.entries)
    elif isinstance(part, BrowserOffersFile):
        BrowserOffers(part)
    elif isinstance(part, IntermediatesFile | RevocationsFile):
        part.listed()
    elif isinstance(part, LogsFile):
        part.listed(data_set.shipped().part(KnowledgeKind.LOGS))
    elif isinstance(part, KnownRoots):
        assert part.keys is not None
        assert part.labels is not None
        assert part.newest >= part.date
        part.label_of(bytes(32))
    return part


@pytest.mark.parametrize("name", FORMS)
def test_the_shipped_files_are_read(name: str) -> None:
    """Whole, and shortened."""
    read(name, SHIPPED[name])
    read(name, json.dumps(SHORT[name]).encode())


REPLACEMENTS: Final = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 2**31, 2**63 - 1, 2**63, 2**64, 10**40, 0.5, float("1e400")]),
    st.sampled_from(
        ["", "a" * 2000, "(a+)+$", "9999-12-31", "0001-01-01", "2026-02-30", "2026-01-01T00:00:00", "\ud800"]
    ),
    st.text(max_size=20),
    st.binary(max_size=40).map(bytes.hex),
    st.just([]),
    st.just({}),
    st.just({"a": 1}),
    st.just([1] * 3),
    st.just([["a"]] * 70),
)


@pytest.mark.parametrize("name", FORMS)
@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_a_changed_value_is_refused_or_read(name: str, data: st.DataObject) -> None:
    """Another type, range, length or date anywhere: an error that names the file, or a part that can be used."""
    content = copy.deepcopy(SHORT[name])
    *path, last = data.draw(st.sampled_from(places(content)[1:]))
    inner = content
    for key in path:
        inner = inner[key]
    inner[last] = data.draw(REPLACEMENTS)
    try:
        read(name, json.dumps(content).encode())
    except KnowledgeError as error:
        assert error.message.startswith(f"{name}: ")  # noqa: PT017 - either may happen


@pytest.mark.parametrize("name", FORMS)
@given(data=st.data())
@settings(max_examples=50, deadline=None)
def test_a_file_cut_off_is_refused(name: str, data: st.DataObject) -> None:
    """No prefix of a file is a file."""
    whole = json.dumps(SHORT[name]).encode()
    with pytest.raises(KnowledgeError, match=name):
        read(name, whole[: data.draw(st.integers(0, len(whole) - 1))])


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b'{"schema":' + b"[" * 100_000,
        b'{"schema":' + b"9" * 100_000 + b"}",
        b" " * (PART_BYTES_MAX + 1),
        b'{"schema": 1e9}',
        b'{"schema": -1}',
    ],
    ids=["empty", "null", "list", "object", "bytes", "deep", "deeper", "number", "large", "float", "negative"],
)
def test_what_is_no_file_is_refused(name: str, data: bytes) -> None:
    """Whatever the bytes are: the same error, which names the file."""
    with pytest.raises(KnowledgeError, match=name):
        read(name, data)


@pytest.mark.parametrize("name", FORMS)
def test_another_form_is_named(name: str) -> None:
    """A file of the future is known as such, although nothing else of it can be read."""
    form = SHORT[name]["schema"] + 1
    for data in ({"schema": form}, {**SHORT[name], "schema": form}, {"schema": form, "new": [1]}):
        with pytest.raises(UnknownSchemaError, match=f"`schema` is {form}"):
            read(name, json.dumps(data).encode())


@pytest.mark.parametrize("name", FORMS)
def test_the_message_names_the_field(name: str) -> None:
    """The path to the value, so that its publisher finds it; and a field that does not exist is one, too."""
    with pytest.raises(KnowledgeError, match=r"\$\.version"):
        read(name, json.dumps({**SHORT[name], "version": "x"}).encode())
    with pytest.raises(KnowledgeError, match="unknown field `surplus`"):
        read(name, json.dumps({**SHORT[name], "surplus": 1}).encode())
    with pytest.raises(KnowledgeError, match="`horizon` is before `date`"):
        read(name, json.dumps({**SHORT[name], "horizon": "2000-01-01"}).encode())


def changed(name: str, *path: str | int, to: object) -> bytes:
    """A shortened file with another value at this path."""
    content = copy.deepcopy(SHORT[name])
    inner = content
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = to
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    ("name", "path", "to", "why"),
    [
        (
            "interceptors.json",
            ("entries", 1, "facts", 0),
            {"field": "CN", "match": "regex", "value": "(a+)+$"},
            r"entries\[1\]\.facts\[0\]",
        ),
        ("interceptors.json", ("entries", 0, "facts", 0), {"field": "sha256", "match": "exact", "value": "00"}, "hash"),
        ("ct_logs.json", ("logs", 1, "key"), "AAAA", r"`logs\[1\]\.log_id`"),
        ("ct_logs.json", ("logs",), [SHORT["ct_logs.json"]["logs"][0]] * 2, "a log twice"),
        ("ct_logs.json", ("logs", 0, "retired"), "2026-01-01T00:00:00", "retired"),
        ("client_hellos.json", ("profiles", 0, "bodies"), {"70000": ""}, "bodies"),
        ("client_hellos.json", ("profiles", 0, "bodies"), {"5": "0"}, "bodies"),
        ("client_hellos.json", ("profiles", 0, "groups"), [-1], "groups"),
        ("roots.json", ("roots", 0, "sha256"), "A" * 64, "sha256"),
        ("intermediates.json", ("keys", 0), "AAAA", "keys"),
        ("revocations.json", ("keys", 0, "spki_sha256"), "AAAA", "spki_sha256"),
        ("revocations.json", ("issuers", 0, "serials"), {}, "serials"),
    ],
)
def test_values_that_no_file_has(name: str, path: tuple[str | int, ...], to: object, why: str) -> None:
    """What would cost time, crash later, or be silently useless is refused when the file is read."""
    with pytest.raises(KnowledgeError, match=why):
        read(name, changed(name, *path, to=to))


def test_facts_that_cost_time_are_counted() -> None:
    """Parts of values are compared one by one, so a catalogue has only so many."""
    entry = SHORT["interceptors.json"]["entries"][0]
    fact = {"field": "CN", "match": "contains", "value": "x"}
    entries = [{**entry, "facts": [fact] * 64}] * (PARTIAL_MAX // 64)
    read("interceptors.json", changed("interceptors.json", "entries", to=entries))
    with pytest.raises(KnowledgeError, match=f"at most {PARTIAL_MAX}"):
        read("interceptors.json", changed("interceptors.json", "entries", to=[*entries, {**entry, "facts": [fact]}]))
