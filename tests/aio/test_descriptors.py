"""How many probes the open files of a process allow."""

from __future__ import annotations

import subprocess
import sys

import pytest

from detector.aio import descriptors

if sys.platform == "win32":
    pytest.skip("Windows has no such limit", allow_module_level=True)
else:
    import resource


@pytest.mark.parametrize(
    ("soft", "wanted", "possible"),
    [(256, 256, 96), (256, 10, 10), (64, 256, 1), (1, 5, 1), (10240, 256, 256), (resource.RLIM_INFINITY, 20000, 20000)],
)
def test_probes_at_once(soft: int, wanted: int, possible: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some descriptors are kept, each probe has two, and one probe is always possible."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, resource.RLIM_INFINITY))
    assert descriptors.probes_at_once(wanted) == possible


@pytest.mark.parametrize(
    ("soft", "hard", "expected"),
    [
        (256, 4096, (4096, 4096)),
        (256, resource.RLIM_INFINITY, (descriptors.OPEN_MAX, resource.RLIM_INFINITY)),
        (4096, 4096, None),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, None),
        (20000, resource.RLIM_INFINITY, None),
    ],
)
def test_raising(soft: int, hard: int, expected: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to the hard limit, or to what macOS grants where it names none; never down."""
    made: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: made.append(limits))
    descriptors.raise_limit()
    assert made == ([] if expected is None else [expected])


def test_raising_for_real() -> None:
    """A process that starts with few has the hard limit afterwards."""
    code = (
        "import resource as r; from detector.aio import descriptors as d; hard = r.getrlimit(r.RLIMIT_NOFILE)[1]\n"
        "r.setrlimit(r.RLIMIT_NOFILE, (64, hard)); d.raise_limit(); assert r.getrlimit(r.RLIMIT_NOFILE)[0] > 64"
    )
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 - our own code
