"""Write THIRD_PARTY_NOTICES.md: what this package and its collector require, and under which licenses. For maintainers.

Room: scripts. Reads the metadata of what is installed here (`uv sync`), writes the file named.

    python scripts/build_notices.py                    the page
    python scripts/build_notices.py --texts LICENSES   the license texts of everything installed here that is required

The texts are for applications that carry these packages with them, and are those of the versions they carry.
"""

from __future__ import annotations

import argparse
import re
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "THIRD_PARTY_NOTICES.md"
TEMPLATE: Final = ROOT / "scripts" / "templates" / "notices.md"
PACKAGE: Final = "tls-middleware-detector"
COLLECTOR: Final = "tls-middleware-detector-collect"
ALL: Final = "all"
"""The extra that repeats all others."""
TEXT_FILE: Final = re.compile(r"licen[cs]e|copying|notice|authors", re.IGNORECASE)
"""Names of files in a distribution's metadata that its license asks to pass on."""
SPDX: Final = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""What classifiers mean where there is no license expression; each was compared with the license text."""
HOMES: Final = ("source", "source code", "repository", "github", "code", "homepage", "home", "documentation")
"""Labels of a distribution's URLs, the one to show first."""


class Requirements(NamedTuple):
    """What the package requires, by name: the lowest version that it accepts itself, and who else requires it."""

    floors: dict[str, str]
    extras: dict[str, set[str]]
    through: dict[str, set[str]]


def page() -> str:
    """The whole page."""
    found, collector = required(), required(COLLECTOR)
    rows = "".join(_row(name, found) for name in sorted(found.through))
    more = "".join(_row(name, collector) for name in sorted(collector.through.keys() - found.through))
    return TEMPLATE.read_text("utf-8").replace("{packages}", rows).replace("{collector}", more)


def required(package: str = PACKAGE) -> Requirements:
    """Everything that a package requires with all extras, as installed here. Raises PackageNotFoundError."""
    floors: dict[str, str] = {}
    extras: dict[str, set[str]] = {}
    through: dict[str, set[str]] = {}
    offered = _field(package, "Provides-Extra")
    open_: list[tuple[str, frozenset[str]]] = [(package, frozenset(offered) - {ALL})]
    seen = set(open_)
    while open_:
        parent, wanted = open_.pop()
        for line in metadata.requires(parent) or ():
            requirement = Requirement(line)
            name = canonicalize_name(requirement.name)
            needing = {extra for extra in ("", *wanted) if _applies(requirement, extra)}
            if not needing:
                continue
            if name != PACKAGE:
                through.setdefault(name, set()).add(parent)
                if parent == package:
                    floors[name] = str(requirement.specifier)
                    extras.setdefault(name, set()).update(needing)
            if (further := (name, frozenset(requirement.extras))) not in seen:
                seen.add(further)
                open_.append(further)
    return Requirements(floors, extras, through)


def license_of(name: str) -> str:
    """The license of an installed distribution, as an SPDX expression where one can be read."""
    classifiers = (line for line in _field(name, "Classifier") if line.startswith("License ::"))
    classified = " AND ".join(SPDX.get(word, word) for word in (line.split(" :: ")[-1] for line in classifiers))
    declared = ", ".join(_field(name, "License")).partition("\n")[0]  # some put the whole text there
    return next(iter([*_field(name, "License-Expression"), classified or SPDX.get(declared, declared)]))


def texts() -> Iterator[str]:
    """The license texts of everything required, each under the name and version it belongs to."""
    installed = [package for package in (PACKAGE, COLLECTOR) if any(metadata.distributions(name=package))]
    for name in sorted({*installed, *(name for package in installed for name in required(package).through)}):
        about = metadata.distribution(name)
        for file in about.files or ():
            if ".dist-info" in file.parts[0] and TEXT_FILE.search(file.name):
                yield f"{'=' * 100}\n{about.name} {about.version}: {file.name}\n{'=' * 100}\n\n"
                yield f"{file.read_text('utf-8').strip()}\n\n"


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _row(name: str, found: Requirements) -> str:
    """One row of the table."""
    if name in found.floors:
        version = found.floors[name]
        extras = sorted(found.extras[name] - {""})
        by = "always" if "" in found.extras[name] else ", ".join(f"extra `{extra}`" for extra in extras)
    else:
        version, by = "", ", ".join(sorted(found.through[name]))
    return f"| {name} | {version} | {by} | {license_of(name)} | {_home(name)} |\n"


def _home(name: str) -> str:
    """The address where a distribution is developed, else that of its documentation; some name neither."""
    labelled = (line.partition(", ") for line in _field(name, "Project-URL"))
    urls = {label.lower(): url for label, _, url in labelled}
    return next(iter([*(urls[label] for label in HOMES if label in urls), *_field(name, "Home-page"), ""]))


def _field(name: str, field: str) -> list[str]:
    """The values of a field in an installed distribution's metadata."""
    return metadata.metadata(name).get_all(field) or []


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, metavar="FILE")
    target = parser.parse_args().texts
    if target:
        target.write_text("".join(texts()), "utf-8")
    else:
        PAGE.write_text(page(), "utf-8")
