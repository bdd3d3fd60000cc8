"""Switch off each check in turn and list the first test that fails: writes docs/mutations.md.

    python scripts/mutate_checks.py            write the table
    python scripts/mutate_checks.py --check    fail when a mutation survives or the table lists other checks

A check whose absence no test detects might as well not exist.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from detector.judge import checks

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs" / "mutations.md"
TESTS = ("tests/judge",)
HEAD = """# Every check is tested

Each line is one mutation: the check is switched off (it finds nothing), and the tests of the room `judge` run until one
fails. Written by `python scripts/mutate_checks.py`; `.ci/run` repeats the mutations with `--check`.

| check switched off | first test that fails |
|---|---|
"""


def first_failure(check: str) -> str | None:
    """Run the tests with one check off; return the id of the first test that fails, None when none does."""
    done = subprocess.run(  # noqa: S603 - our own tests
        [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "-n",
            "0",
            "-p",
            "disable_check",
            "-p",
            "no:cacheprovider",
            *TESTS,
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "DISABLE_CHECK": check, "PYTHONPATH": str(ROOT / "scripts")},
        check=False,
    )
    found = re.search(r"^FAILED (\S+)", done.stdout, re.MULTILINE)
    if done.returncode not in {0, 1} or (done.returncode == 1 and found is None):
        raise RuntimeError(f"{check}: the tests could not run:\n{done.stdout}{done.stderr}")
    return found[1] if found else None


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare with docs/mutations.md instead of writing it")
    only_check = parser.parse_args().check
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        failures = dict(zip(checks.CHECKS, pool.map(first_failure, checks.CHECKS), strict=True))
    survivors = [check for check, failure in failures.items() if failure is None]
    for check in survivors:
        print(f"{check}: switched off, and no test fails. Write one that does.")
    if only_check:
        listed = re.findall(r"^\| `([a-z-]+)` \|", TABLE.read_text("utf-8"), re.MULTILINE)
        if listed != list(failures):
            print(f"{TABLE.name} lists other checks; run python scripts/mutate_checks.py and commit it.")
            return 1
        print(f"{len(failures)} mutations, {len(survivors)} survivors")
    else:
        rows = "".join(f"| `{check}` | `{failure or 'none'}` |\n" for check, failure in failures.items())
        TABLE.write_text(HEAD + rows, "utf-8")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
