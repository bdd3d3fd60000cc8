"""Start a new check: its file, its line in the register, and its test.

    python scripts/new_check.py certificate-age

What is left to write: the question, the outcomes, `check` itself, the tests; and a row of detector/judge/table.py if a
rule shall rest on it. `python scripts/mutate_checks.py` then adds it to docs/mutations.md.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
TEMPLATES: Final = Path(__file__).with_name("templates")
REGISTER: Final = Path("detector/judge/checks/__init__.py")
LAST_LINE: Final = ")\n\n# isort: on\n"
"""The end of the import that registers checks."""


def create(name: str, root: Path) -> list[Path]:
    """Write the files of a check into the tree at `root`; return the paths that were written, relative to it.

    Raises:
        ValueError: `name` is not lower-case words joined by hyphens, or such a check exists.
    """
    module = name.replace("-", "_")
    check, test = Path(f"detector/judge/checks/{module}.py"), Path(f"tests/judge/checks/test_{module}.py")
    register = (root / REGISTER).read_text("utf-8")
    if not re.fullmatch(r"[a-z]+(-[a-z]+)*", name):
        raise ValueError(f"{name}: not lower-case words joined by hyphens")
    if (root / check).exists() or (root / test).exists():
        raise ValueError(f"{name}: there is a check or a test of this name")
    for path, template in ((check, "check.py.txt"), (test, "test_check.py.txt")):
        text = (TEMPLATES / template).read_text("utf-8")
        (root / path).write_text(text.replace("{id}", name).replace("{module}", module), "utf-8")
    (root / REGISTER).write_text(register.replace(LAST_LINE, f"    {module},\n{LAST_LINE}"), "utf-8")
    return [check, REGISTER, test]


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("name", help="id of the check: lower-case words joined by hyphens")
    try:
        written = create(parser.parse_args().name, ROOT)
    except ValueError as error:
        parser.error(str(error))
    print("\n".join(f"wrote {path}" for path in written))
    return 0


if __name__ == "__main__":
    sys.exit(main())
