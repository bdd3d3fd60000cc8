"""Tests of detector.knowledge.known_roots: certificates, and when roots were removed. Room: knowledge."""

from __future__ import annotations

import datetime as dt
import itertools

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from detector.knowledge import data_set, known_roots
from detector.trust.certificate import Certificate


def test_each_root_has_its_certificate() -> None:
    """The certificate of every known root is the one its hashes name, and its key can be verified by."""
    for known, der in zip(data_set.shipped().known_roots.roots, data_set.shipped().root_certificates, strict=True):
        certificate = Certificate.read(der)
        assert certificate.sha256.hex() == known.sha256
        assert certificate.spki_sha256 is not None
        assert certificate.spki_sha256.hex() == known.spki_sha256
        assert certificate.spki is not None
        load_der_public_key(certificate.spki)


def test_no_retired_root_has_a_key_that_can_be_broken() -> None:
    """A chain to a retired root accuses nobody, so none may have a weak key that could be factored."""
    spkis = (Certificate.read(der).spki for der in data_set.shipped().root_certificates)
    for key in (load_der_public_key(spki) for spki in spkis if spki is not None):
        assert isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)
        assert key.key_size >= (2048 if isinstance(key, rsa.RSAPublicKey) else 256)


def test_removal_is_dated_by_the_first_version_without_the_root() -> None:
    """A root in the newest version was not removed, and any other was, after the last version that had it."""
    dates = sorted(data_set.shipped().known_roots.examined_dates)
    for root in data_set.shipped().known_roots.roots:
        last = known_roots.date_of(root.last_seen)
        assert last is not None
        later = [date for date in dates if date > last]
        assert root.removed == (None if root.last_seen == data_set.shipped().known_roots.versions[-1] else later[0])
        assert root.is_current(None) is (root.removed is None)
        assert root.is_current(last)
        assert root.removed is None or not root.is_current(root.removed)


def test_removals_are_dated_to_a_few_months() -> None:
    """The versions that were examined lie close together, so that no removal is dated by years."""
    dates = sorted(data_set.shipped().known_roots.examined_dates)
    assert max(later - earlier for earlier, later in itertools.pairwise(dates)) < dt.timedelta(days=250)


def test_dates_of_versions() -> None:
    """A version of certifi is a date, whatever follows it; anything else has none."""
    assert known_roots.date_of("2026.10.19.post1") == dt.date(2026, 10, 19)
    assert known_roots.date_of("2020.4.5.2") == dt.date(2020, 4, 5)
    for version in ("", "2026", "2026.13.1", "nightly", "1.2.3.4", "2026.5"):
        assert known_roots.date_of(version) is None or version == "1.2.3.4"


def test_examined_versions_are_in_order_and_end_with_the_newest() -> None:
    """Each has a date, none is older than the one before, and the last is the newest version."""
    versions = data_set.shipped().known_roots.versions
    dates = [known_roots.date_of(version) for version in versions]
    assert set(dates) == data_set.shipped().known_roots.examined_dates
    assert all(before <= after for before, after in itertools.pairwise(filter(None, dates)))
    assert versions[-1] == data_set.shipped().known_roots.versions[-1]
