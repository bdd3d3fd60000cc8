"""The evaluation and the benchmark of the server's side: how they read, count and write. No time is assessed here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmark import client_hellos as benchmark
from detector.origin import Family, Verdict
from evaluation import client_hellos as evaluation

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

LINES = (
    "# a comment\n"
    "1:48:1:2:6.1.0:1:|303:c028,?c027,9f,9e,a,13:0,a,b,d,17,ff01:17,18:0::|Product:1:0\n"
    "1:48:1:2:6.1.0:1:|303:~2f,3d,!31:*:*:0::|Another:1:0\n"
    ":::::::|*:*:*:*:*:x-product-via:*|A header:1:0\n"
)


def test_products_are_read(tmp_path: Path) -> None:
    """A record of a product gives the lists that it states, without what it marks, and one of a header gives none."""
    file = tmp_path / "mitm.txt"
    file.write_text(LINES, "utf-8")
    first, second = evaluation.products(file)
    assert (first.name, second.name) == ("Product", "Another")
    assert first.offer.cipher_suites == (0xC028, 0x9F, 0x9E, 0xA, 0x13)
    assert first.offer.extensions == (0, 10, 11, 13, 23, 65281)
    assert second.offer.cipher_suites == (0x2F, 0x3D)
    assert (second.offer.extensions, second.offer.groups) == (None, None)


def test_the_part_of_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run without downloads finds nothing wrong, and writes its part of the page again and again in one place."""
    page, products = tmp_path / "accuracy.md", tmp_path / "mitm.txt"
    page.write_text("# A page\n\nText.\n", "utf-8")
    products.write_text(LINES, "utf-8")
    arguments = ["--quick", "--mitmengine", str(products), "--write", str(page)]
    assert evaluation.main(arguments) == 0
    written = page.read_text("utf-8")
    assert written.startswith("# A page\n\nText.\n\n")
    assert evaluation.main(arguments) == 0
    assert page.read_text("utf-8") == written
    assert evaluation.kept(written) in written
    assert evaluation.kept("# A page\n") == ""
    assert "wrong: 0" in capsys.readouterr().out
    for view in evaluation.VIEWS:
        assert f"#### {view}\n" in written


def test_baselines_are_frozen() -> None:
    """A list of JA4 fingerprints accuses browsers that are newer than it, and none that it has."""
    clients = evaluation.recorded()
    newest = evaluation.FREEZES[0]
    for method in evaluation.frozen(clients, newest):
        for one in clients:
            if one.claims is not None and one.group == evaluation.BROWSERS:
                known = (one.claims.major or 0) <= newest[one.claims.family]
                assert not (known and method.accuses(one, one.claims))
        assert any(one.claims is not None and method.accuses(one, one.claims) for one in clients)


def test_what_is_wrong() -> None:
    """A browser that contradicts itself, and a program that contradicts nobody, are wrong."""
    clients = {one.name: one for one in evaluation.recorded()}
    own, other = clients["firefox_144.0.0_linux"], clients["sslsplit 0.5.5"]
    assert evaluation.wrong([own, other]) == []
    assert len(evaluation.wrong([own._replace(offer=other.offer)])) == 1
    assert len(evaluation.wrong([other._replace(offer=own.offer)])) == 1  # as Firefox


def test_what_the_benchmark_measures() -> None:
    """The measured cases are what their names say."""
    cases = benchmark.cases()
    for name, call in cases.items():
        found = call()
        if "no contradiction" in name:
            assert getattr(found, "verdict", None) is Verdict.NOTHING_SEEN
        elif "another browser's" in name or "a proxy's" in name:
            assert getattr(found, "verdict", None) is Verdict.MIDDLEWARE
        elif "headers" in name:
            assert getattr(found, "family", None) is Family.CHROMIUM
