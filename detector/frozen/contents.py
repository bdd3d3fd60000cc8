"""What a freezer must collect of this package, since no import statement that it follows says so.

Room: frozen. Reads the package's own source and the installed distributions, when an application is built; the hook
for PyInstaller (`pyinstaller/hook-detector.py`) passes it on.
"""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE: Final = Path(__file__).resolve().parents[1]
"""The folder of the package `detector`."""

SEPARATE: Final = ("detector_collect", "detector_testing")
"""The collector and the test kit, which only `detector collect` and `detector demo` import: what is built for students
does without them."""

_BY_NAME: Final = frozenset({"LazyModule", "import_module", "find_spec"})
"""Functions of this package's source that import a module, or search for one, by its name."""

_BY_OTHERS: Final = (
    "pg8000.dbapi",  # by SQLAlchemy, for the URL that a history gets
    "sqlalchemy.dialects.postgresql.pg8000",
    "sqlalchemy.dialects.sqlite.pysqlite",
)
"""Modules that other distributions import by name for this one."""

DATA_OF: Final = {
    "certifi": "*.pem",  # public roots
    "quickjs_rs": "*.wasm",  # the sandbox for proxy files
    "tldextract": ".tld_set_snapshot",  # its copy of the Public Suffix List
}
"""Files of other distributions that are read at run time, by import package."""

LIBRARIES_OF: Final = ("wasmtime",)
"""Import packages whose shared library is loaded by its path."""

METADATA_OF: Final = ("certifi",)
"""Distributions whose record of installed files is read."""


class Mention(NamedTuple):
    """One call in the source that names a module; `name` is None where it is computed."""

    file: str
    name: str | None


def modules() -> list[str]:
    """Return the modules of this package, but for the migrations, which Alembic runs as files."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if all(part.isidentifier() and not part[0].isdigit() for part in parts):
            found.append(".".join(("detector", *(parts[:-1] if parts[-1] == "__init__" else parts))))
    return found


def mentions() -> list[Mention]:
    """Return every call of the source that imports a module by its name or searches for one."""
    return [mention for path in sorted(PACKAGE.rglob("*.py")) for mention in _mentions_in(path)]


def _mentions_in(path: Path) -> Iterator[Mention]:
    file = path.relative_to(PACKAGE)
    package = ".".join(("detector", *file.parts[:-1]))
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Call) and _called(node.func) in _BY_NAME and node.args:
            yield Mention(file.as_posix(), _module_name(node.args[0], package))


def _called(function: ast.expr) -> str:
    return (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )


def _module_name(argument: ast.expr, package: str) -> str | None:
    """The name in a literal, or in an f-string of `__package__` and text; None for any other expression."""
    pieces = argument.values if isinstance(argument, ast.JoinedStr) else [argument]
    text = ""
    for piece in pieces:
        value = piece.value if isinstance(piece, ast.FormattedValue) else piece
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            text += value.value
        elif isinstance(value, ast.Name) and value.id == "__package__":
            text += package
        else:
            return None
    return text


def hidden_imports() -> list[str]:
    """Return every module that is imported by name: all of this package's, and those of what is installed."""
    named = {mention.name for mention in mentions() if mention.name is not None} | set(_BY_OTHERS)
    installed = {name for name in named if importlib.util.find_spec(name.partition(".")[0]) is not None}
    return sorted({*modules(), *installed} - {*SEPARATE})


def data_files(pins: Path) -> list[tuple[str, str]]:
    """Return pairs of a file of this package that is no module and the folder it belongs to in the application.

    `pins` is the folder of the pin files that come with the package.
    """
    files = [path for path in PACKAGE.rglob("*") if path.is_file() and _is_data(path.relative_to(PACKAGE))]
    found = {(str(path), str(Path("detector", path.relative_to(PACKAGE).parent))) for path in files}
    return sorted(found | {(str(path), "detector/pins/shipped") for path in pins.glob("*.toml")})


def _is_data(path: Path) -> bool:
    if "__pycache__" in path.parts:
        return False
    return path.suffix != ".py" or path.parts[:2] == ("history", "migrations")
