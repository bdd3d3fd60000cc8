"""Policies: what a file may say, what is refused and with which words. Room: exam; files in a temporary directory."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.errors import PolicyError
from detector.exam import OnStalePin, OnUnconfirmed, Policy, PolicyScope
from detector.exam.policy import ENDPOINTS_MAX, NETWORK_KEYS
from detector.model import Category
from detector.session.plan import HELLO_CHOICES
from detector.session.settings import NetworkSettings


def write(folder: Path, text: str) -> Path:
    """Save a policy and give its path."""
    path = folder / "policy.toml"
    path.write_text(text, "utf-8")
    return path


def test_defaults_are_sane() -> None:
    """What is not confirmed blocks, stale pins warn, and other endpoints block nothing."""
    policy = Policy()
    assert policy.on_unconfirmed is OnUnconfirmed.BLOCK
    assert policy.on_stale_pin is OnStalePin.WARN
    assert policy.scope is PolicyScope.ENDPOINT
    assert policy.deadline == 3.0
    assert not policy.requires_witness("exam.example.edu:443", Category.EXAM)


def test_resolving(tmp_path: Path) -> None:
    """A policy is taken unchanged, a path is read, and without either the default one holds."""
    policy = Policy(name="finals")
    assert Policy.resolve(policy) is policy
    assert Policy.resolve(str(write(tmp_path, "schema = 1"))) == Policy(name="policy")
    assert Policy.resolve(None) == Policy()


def test_empty_policy_file_is_the_default(tmp_path: Path) -> None:
    """A file that says only what it is changes nothing but the name."""
    assert Policy.load(write(tmp_path, "schema = 1")) == Policy(name="policy")


def test_reads_every_field(tmp_path: Path) -> None:
    """A file that uses the whole form comes out as a policy that says all of it, paths relative to the file."""
    path = write(
        tmp_path,
        """
        schema = 1
        name = "finals"
        on_unconfirmed = "warn"
        on_stale_pin = "refuse"
        scope = "network"
        require_witness = ["Exam.Example.edu", "[2001:db8::1]:8443"]
        deadline = 5
        endpoints = ["exam.example.edu", "exam.example.edu:443"]
        pins = ["pins.toml"]
        route = "direct,proxy"
        proxy = "pac:proxy.pac"
        hello = "HELLO"
        quic = true
        all_addresses = true
        probes = 3
        spread = true
        locate = true
        language = "de-AT"
        """.replace("HELLO", HELLO_CHOICES[-1]),
    )
    assert Policy.load(path) == Policy(
        name="finals",
        on_unconfirmed=OnUnconfirmed.WARN,
        on_stale_pin=OnStalePin.REFUSE,
        scope=PolicyScope.NETWORK,
        require_witness=("exam.example.edu:443", "[2001:db8::1]:8443"),
        deadline=5.0,
        endpoints=("exam.example.edu:443",),
        pins=(str(tmp_path / "pins.toml"),),
        route="direct,proxy",
        proxy=f"pac:{tmp_path / 'proxy.pac'}",
        hello=HELLO_CHOICES[-1],
        quic=True,
        all_addresses=True,
        probes=3,
        spread=True,
        locate=True,
        language="de",
    )


def test_probing_is_what_the_settings_of_detectors_say() -> None:
    """Every key about connections is a field of `NetworkSettings`, with its values; what is not set is not decided."""
    assert set(NETWORK_KEYS) < set(NetworkSettings.__struct_fields__)
    assert Policy().network == {"probes": 2, "spread": False}
    assert Policy(quic=False, proxy="none").network == {"quic": False, "proxy": "none", "probes": 2, "spread": False}


def test_witness_may_be_required_of_a_category() -> None:
    """A category stands for all of its endpoints, a list for those in it."""
    policy = Policy(require_witness=Category.EXAM)
    assert policy.requires_witness("a.example:443", Category.EXAM)
    assert not policy.requires_witness("a.example:443", Category.LMS)
    assert Policy(require_witness=("a.example",)).requires_witness("a.example:443", Category.LMS)


@pytest.mark.parametrize(
    ("text", "place", "advice"),
    [
        ("", "schema", "schema = 1"),
        ("schema = 2", "schema", "schema = 1"),
        ("schema = true", "schema", "schema = 1"),
        ("schema = 1\non_unconfirm = 'warn'", "'on_unconfirm'", "on_unconfirmed"),
        ("schema = 1\nblock_at = 'proven'", "'block_at'", "on_unconfirmed, on_stale_pin, scope"),
        ("schema = 1\nlanguage = 'xx'", "language: 'xx'", "en, de"),
        ("schema = 1\nlanguage = 7", "language", "en, de"),
        ("schema = 1\non_unconfirmed = 'allow'", "on_unconfirmed", "block, warn"),
        ("schema = 1\non_unconfirmed = 3", "on_unconfirmed", "block, warn"),
        ("schema = 1\non_unconfirmed = 'Block'", "on_unconfirmed", "block, warn"),
        ("schema = 1\non_stale_pin = []", "on_stale_pin", "warn, refuse"),
        ("schema = 1\non_stale_pin = 'block'", "on_stale_pin", "warn, refuse"),
        ("schema = 1\nscope = 'everything'", "scope", "endpoint, network"),
        ("schema = 1\nscope = ['network']", "scope", "endpoint, network"),
        ("schema = 1\nrequire_witness = 'exam.example.edu'", "require_witness", "list of hosts"),
        ("schema = 1\nrequire_witness = true", "require_witness", "["),
        ("schema = 1\nrequire_witness = ['http://a.example']", "require_witness[0]", "HOST:PORT"),
        ("schema = 1\nendpoints = [3]", "endpoints[0]", "HOST:PORT"),
        ("schema = 1\nendpoints = []", "endpoints", "Leave it out"),
        ("schema = 1\nendpoints = [" + ",".join(f"'h{n}.example'" for n in range(ENDPOINTS_MAX + 1)) + "]", "end", "N"),
        ("schema = 1\ndeadline = 0", "deadline", "deadline = 3.0"),
        ("schema = 1\ndeadline = 61", "deadline", "deadline = 3.0"),
        ("schema = 1\ndeadline = nan", "deadline", "deadline = 3.0"),
        ("schema = 1\ndeadline = '3'", "deadline", "without quotes"),
        ("schema = 1\ndeadline = true", "deadline", "without quotes"),
        ("schema = 1\npins = 'pins.toml'", "pins", "["),
        ("schema = 1\npins = []", "pins", "Leave it out"),
        ("schema = 1\npins = ['']", "pins[0]", "relative to this file"),
        ('schema = 1\npins = ["a\\u0000b"]', "pins[0]", "relative to this file"),
        ("schema = 1\nname = ''", "name", "name ="),
        ("schema = 1\nroute = 'sideways'", "route: 'sideways' is not a route.", ""),
        ("schema = 1\nroute = ['direct']", "route", "route ="),
        ("schema = 1\nproxy = 'ftp://proxy.example'", "proxy", ""),
        ("schema = 1\nproxy = 3", "proxy", "proxy ="),
        ("schema = 1\nhello = 'loud'", "hello", "browser"),
        ("schema = 1\nquic = 'yes'", "quic", "without quotes"),
        ("schema = 1\nall_addresses = 1", "all_addresses", "without quotes"),
        ("schema = 1\nprobes = 0", "probes", "1 to 8"),
        ("schema = 1\nprobes = 9", "probes", "1 to 8"),
        ("schema = 1\nprobes = true", "probes", "1 to 8"),
        ("schema = 1\nspread = 'true'", "spread", "without quotes"),
        ("schema = 1\nlocate = 'true'", "locate", "without quotes"),
        ("schema = 1\nprobe = 2", "'probe'", "probes"),
        ("schema = ", "not TOML", "Correct"),
    ],
)
def test_refuses_with_file_field_and_remedy(tmp_path: Path, text: str, place: str, advice: str) -> None:
    """Whatever is wrong is reported with the file, the field and what to write instead."""
    path = write(tmp_path, text)
    with pytest.raises(PolicyError) as caught:
        Policy.load(path)
    assert caught.value.message.startswith(f"{path}: ")
    assert place in caught.value.message
    assert advice in caught.value.advice


def test_missing_file_and_other_text_are_refused(tmp_path: Path) -> None:
    """A policy that cannot be read never means the default one."""
    with pytest.raises(PolicyError, match="cannot be read"):
        Policy.load(tmp_path / "absent.toml")
    (tmp_path / "latin.toml").write_bytes(b"schema = 1 # \xe9")
    with pytest.raises(PolicyError, match="UTF-8"):
        Policy.load(tmp_path / "latin.toml")


@pytest.mark.parametrize(
    "wrong",
    [
        {"on_unconfirmed": "allow"},
        {"on_stale_pin": "block"},
        {"deadline": math.inf},
        {"deadline": -1.0},
        {"endpoints": ("not a host",)},
        {"scope": "all"},
        {"require_witness": "somewhere"},
        {"route": "sideways"},
        {"hello": "loud"},
        {"quic": "yes"},
        {"all_addresses": 1},
        {"probes": 0},
        {"probes": None},
        {"spread": None},
        {"locate": None},
    ],
)
def test_policy_made_in_python_is_checked_alike(wrong: dict[str, Any]) -> None:
    """A policy that exists can be used, wherever it came from."""
    with pytest.raises(PolicyError, match=next(iter(wrong))):
        Policy(**wrong)


def test_values_may_be_written_as_text() -> None:
    """The words of the file work in Python too."""
    given: dict[str, Any] = {"on_unconfirmed": "warn", "on_stale_pin": "refuse", "scope": "network"}
    policy = Policy(**given)
    assert policy.on_unconfirmed is OnUnconfirmed.WARN
    assert policy.on_stale_pin is OnStalePin.REFUSE
    assert policy.scope is PolicyScope.NETWORK


_TOML = st.recursive(
    st.sampled_from(
        ["1", "3.0", "true", "'exam'", "'warn'", "'network'", "'a.example'", "2026-01-01", "nan", "-1", '"\\u0000"']
    ),
    lambda inner: st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from((*Policy.__struct_fields__, "more")), _TOML))
def test_any_table_is_a_policy_or_refused(table: dict[str, str]) -> None:
    """Whatever stands behind the known keys, only the documented exception gets out."""
    text = "schema = 1\n" + "".join(f"{key} = {value}\n" for key, value in table.items())
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), text)
        policy = refused = None
        try:
            policy = Policy.load(path)
        except PolicyError as error:
            refused = error
        assert policy is not None or (refused is not None and str(path) in refused.message and refused.advice)
        assert policy is None or ("more" not in table and 0.1 <= policy.deadline <= 60)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_policy_or_refused(data: bytes) -> None:
    """Bytes that are no TOML at all are refused, never a fault."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.toml"
        path.write_bytes(data)
        with pytest.raises(PolicyError):
            Policy.load(path)
