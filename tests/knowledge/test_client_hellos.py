"""The shipped profiles of browsers are complete: the writer finds everything that it needs in them.

Room: tests of knowledge. Pure apart from reading the package's own data.
"""

from __future__ import annotations

import msgspec
import pytest

from detector.knowledge import data_set
from detector.knowledge.client_hellos import HelloProfile, HelloProfiles
from detector.model import Hello
from detector.probe.tls.hello import GREASE
from detector.probe.tls.reader import Reader

OF_FIELDS = {0, 10, 13, 16, 27, 43, 44, 51, 65037}
"""Extensions whose content other fields than `bodies` give, or that are written for each connection."""

TRUST_ANCHORS = 51764  # draft-ietf-tls-trust-anchor-ids
MERKLE_TREE_ANCHORS = bytes.fromhex("82da4b")
"""How an id under 1.3.6.1.4.1.44363 begins, relative to 1.3.6.1.4.1 (draft-ietf-plants-merkle-tree-certs)."""


@pytest.fixture(params=[Hello.BROWSER, Hello.FIREFOX])
def profile(request: pytest.FixtureRequest) -> HelloProfile:
    """Each shipped profile."""
    return data_set.shipped().client_hellos.of(request.param)


def test_every_browser_has_a_profile() -> None:
    """Chrome's and Firefox's are there, the readable hello is a variation of Chrome's, and OpenSSL's has none."""
    assert [profile.hello for profile in data_set.shipped().client_hellos.profiles] == [Hello.BROWSER, Hello.FIREFOX]
    assert data_set.shipped().client_hellos.of(Hello.READABLE) is data_set.shipped().client_hellos.of(Hello.BROWSER)
    for hello in (Hello.OPENSSL, Hello.WIDEST):
        with pytest.raises(KeyError):
            data_set.shipped().client_hellos.of(hello)


def test_every_extension_has_content(profile: HelloProfile) -> None:
    """Each extension is named once, and its content comes from exactly one place."""
    assert len(set(profile.extensions)) == len(profile.extensions)
    assert profile.bodies.keys() == set(profile.extensions) - OF_FIELDS
    assert all(bytes.fromhex(body).hex() == body for body in profile.bodies.values())


def test_reserved_values_are_no_content(profile: HelloProfile) -> None:
    """What is drawn for each connection is not in the data."""
    numbers = {
        *profile.cipher_suites,
        *profile.extensions,
        *profile.groups,
        *profile.key_shares,
        *profile.signature_schemes,
        *profile.versions,
    }
    assert not numbers & GREASE
    assert set(profile.grease) <= {10, 13, 43}


def test_lists_fit_together(profile: HelloProfile) -> None:
    """Key shares are of offered groups, lists have no repetitions, and something is offered in each."""
    assert set(profile.key_shares) <= set(profile.groups)
    for numbers in (profile.cipher_suites, profile.groups, profile.signature_schemes, profile.versions):
        assert len(set(numbers)) == len(numbers) > 0


def test_no_anchor_of_merkle_tree_certificates(profile: HelloProfile) -> None:
    """A server sends such certificates only to clients that name their anchors; nothing here could verify one."""
    reader = Reader(bytes.fromhex(profile.bodies.get(TRUST_ANCHORS, "0000")), "trust_anchors")
    anchors = Reader(reader.vector(2), "trust_anchors")
    found = []
    while anchors.left:
        found.append(anchors.vector(1))
    assert len(found) == (28 if profile.hello is Hello.BROWSER else 0)
    assert not [anchor.hex() for anchor in found if anchor.startswith(MERKLE_TREE_ANCHORS)]


def test_an_unknown_field_is_refused() -> None:
    """A file of another version of this package is not read as if it were one of this."""
    content = (data_set.DATA / "client_hellos.json").read_bytes().replace(b'"schema"', b'"scheme"', 1)
    with pytest.raises(msgspec.ValidationError, match="scheme"):
        msgspec.json.decode(content, type=HelloProfiles)
