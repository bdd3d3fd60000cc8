"""How many examples generated tests take: `DETECTOR_PROFILE=quick` (the default), `ci` (the default in CI) or `deep`.

Room: tests. A test says how many it needs in CI: `@settings(max_examples=examples(200))`.
"""

from __future__ import annotations

import os
from typing import Final

SCALE: Final = {"quick": 0.25, "ci": 1.0, "deep": 50.0}
"""Examples per example in CI. `deep` takes hours for the whole suite: name the tests that it should run."""
PROFILE: Final = os.environ.get("DETECTOR_PROFILE") or ("ci" if os.environ.get("CI") else "quick")


def examples(in_ci: int) -> int:
    """Return how many examples a test takes that takes this many in CI."""
    return max(1, round(in_ci * SCALE[PROFILE]))
