"""The readers of trust stores against databases that the real programs made: NSS's certutil, p11-kit's trust.

Outside CI a machine without these programs skips this file: they come from the system's packages, which `pip` and `uv`
cannot install. In CI they are installed by `.ci/run`, and a missing one fails.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from detector_testing.pki import to_pem
from support.system import program

from detector.audit import nss, p11_kit
from detector.audit.entries import InstalledRoot
from detector.audit.programs import run

if TYPE_CHECKING:
    from pathlib import Path

    from detector_testing import PrivatePKI


@pytest.mark.lab
def test_database_made_by_certutil(tmp_path: Path, pki: PrivatePKI) -> None:
    """Roots that certutil trusts for TLS servers are found; those it merely keeps, or refuses, are told apart."""
    certutil = program("certutil")
    database = tmp_path / "db"
    database.mkdir()
    trusted, kept, refused = (pki.private_ca(f"{word} CA") for word in ("Trusted", "Kept", "Refused"))

    def tool(*words: str) -> None:
        subprocess.run([certutil, *words, "-d", f"sql:{database}"], check=True, capture_output=True)  # noqa: S603 - certutil

    tool("-N", "--empty-password")
    for ca, trust in ((trusted, "C,,"), (kept, ",,"), (refused, "p,,")):
        file = tmp_path / "ca.pem"
        file.write_bytes(to_pem(ca.certificate))
        tool("-A", "-n", ca.subject.rfc4514_string(), "-t", trust, "-a", "-i", str(file))
    found = list(nss.database_roots(database / "cert9.db", "nss"))
    assert {(root.der, root.distrusted) for root in found if isinstance(root, InstalledRoot)} == {
        (trusted.certificate, False),
        (refused.certificate, True),
    }


@pytest.mark.lab
def test_anchors_of_the_real_p11_kit() -> None:
    """The machine's own p11-kit is read without damage, and knows public roots."""
    trust = program("trust")
    found = list(p11_kit.p11_kit_roots(trust, run))
    assert len(found) > 50
    assert all(isinstance(root, InstalledRoot) for root in found)
