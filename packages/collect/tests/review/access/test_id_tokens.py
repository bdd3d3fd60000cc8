"""Room: tests of detector_collect.review.access.id_tokens: whatever is sent, only `TokenError` escapes."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from detector_collect.review.access.id_tokens import ALGORITHMS, Claims, TokenError, read_keys, read_token
from hypothesis import example, given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from joserfc.jws import JWSRegistry, serialize_compact
from support.collect_access import START

KEYS: dict[str, Key] = {
    "RSA": RSAKey.generate_key(2048, {"kid": "RSA"}),
    "EC": ECKey.generate_key("P-256", {"kid": "EC"}),
    "OKP": OKPKey.generate_key("Ed25519", {"kid": "OKP"}),
}
PUBLISHED = read_keys(json.dumps({"keys": [key.as_dict(private=False) for key in KEYS.values()]}).encode())
NOW = int(START.timestamp())
GOOD = {"iss": "https://id.example", "sub": "ada", "aud": "room", "exp": NOW + 60, "iat": NOW, "nonce": "nonce"}
_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=5,
)


def _read(token: str) -> Claims:
    return read_token(token, PUBLISHED, Claims, issuer="https://id.example", client="room", nonce="nonce", now=START)


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _signed(claims: object, algorithm: str, **header: object) -> str:
    key = KEYS[ALGORITHMS[algorithm]]
    registry = JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    named: dict[str, Any] = {"alg": algorithm, "kid": key.kid, **header}
    return serialize_compact(named, json.dumps(claims).encode(), key, registry=registry)


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "Ed25519"])
def test_every_algorithm_of_the_list_verifies(algorithm: str) -> None:
    """A token that is right in everything is read, whatever listed algorithm signed it."""
    assert _read(_signed(GOOD, algorithm)).sub == "ada"


@given(
    st.one_of(
        st.text(max_size=60),
        st.lists(st.binary(max_size=40), min_size=3, max_size=3).map(lambda parts: ".".join(map(_encoded, parts))),
    )
)
@example("..")
@example("e30.e30.")
def test_anything_is_refused_without_a_fault(token: str) -> None:
    """Text that nobody signed is refused as a token."""
    with pytest.raises(TokenError):
        _read(token)


@given(st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "jwk", "jku", "x5c", "b64", "cty"]), _JSON))
def test_any_header_is_refused_without_a_fault(header: dict[str, object]) -> None:
    """A header with values of any type, before a good payload, is refused as a token."""
    parts = (json.dumps({"alg": "RS256", "kid": "RSA", **header}).encode(), json.dumps(GOOD).encode(), b"signature")
    with pytest.raises(TokenError):
        _read(".".join(map(_encoded, parts)))


@given(st.sampled_from(sorted(GOOD)), _JSON)
def test_any_claim_is_read_or_refused_without_a_fault(name: str, value: object) -> None:
    """Whatever stands in one claim of a signed token, it is refused, unless it says the same."""
    claims = {**GOOD, name: value}
    try:
        read = _read(_signed(claims, "Ed25519"))
    except TokenError:
        return
    assert (read.iss, read.nonce) == (GOOD["iss"], GOOD["nonce"])
    assert "room" in read.aud


@given(_JSON)
@example({"keys": [{"kty": "RSA", "n": "!", "e": None}]})
@example({"keys": [{"kty": "EC", "crv": "P-256", "x": "", "y": ""}, {"kty": "OKP", "crv": "X448", "x": "AA"}]})
def test_any_key_set_is_read_without_a_fault(content: object) -> None:
    """Key sets of any form give keys, no keys, or a refusal; none of them verifies what it did not sign."""
    try:
        keys = read_keys(json.dumps(content).encode())
    except TokenError:
        return
    with pytest.raises(TokenError):
        read_token(_signed(GOOD, "ES256"), keys, Claims, issuer="", client="", nonce="nonce", now=START)


def test_a_claim_that_stands_twice_is_refused() -> None:
    """Programs differ in which of two equal claims counts, so that none does."""
    payload = json.dumps(GOOD).replace('"sub"', '"sub": "eve", "sub"').encode()
    registry = JWSRegistry(algorithms=["Ed25519"])
    with pytest.raises(TokenError, match="claims"):
        _read(serialize_compact({"alg": "Ed25519", "kid": "OKP"}, payload, KEYS["OKP"], registry=registry))
