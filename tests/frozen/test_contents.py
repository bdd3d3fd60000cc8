"""What a freezer must collect is everything that no import statement names."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Final

from detector.aio.lazy import LazyModule
from detector.frozen import contents
from detector.frozen.pyinstaller import get_hook_dirs
from detector.knowledge.data_set import canaries_folder

COMPUTED: Final = {
    "__init__.py",  # rooms of the package
    "aio/lazy.py",  # the names of all LazyModules
    "cli/__init__.py",  # commands
    "cli/common.py",  # modules of this package, and rich, which others name
    "frozen/contents.py",  # searches for what is named
    "frozen/programs.py",  # child programs
    "frozen/pyinstaller/hook-detector.py",  # searches for what is named
    "guard/__init__.py",  # modules of the guard
    "outbox/__init__.py",  # modules of the room
    "session/preload.py",  # modules of this package
    "update/__init__.py",  # modules of the room
}
"""Files that compute the name of a module to import; each computes names of this package, or of what others name."""

READ: Final = {
    "frozen/contents.py": ".",  # at build time
    "frozen/pyinstaller/__init__.py": "frozen/pyinstaller",  # at build time
    "history/store.py": "history/migrations",
    "knowledge/data_set.py": "knowledge/data",  # and the folder of the shipped pin files, checked below
    "knowledge/roots.py": ".",  # certifi's folder
    "language/__init__.py": "language/data",
    "probe/routes/pac.py": ".",  # `pac_worker.py`, for interpreters
    "probe/routes/pac_worker.py": "probe/routes/data",
    "report/html.py": "report/templates",
    "scan/fleet/messages.py": ".",  # the source, for interpreters
    "update/bootstrap.py": "update/data",
}
"""Files that mention `__file__`, and the folder whose files they read."""


def test_every_name_in_the_source_is_collected() -> None:
    """Names that are literals are all there, and no file computes names that the list does not know of."""
    mentions = contents.mentions()
    assert {mention.file for mention in mentions if mention.name is None} == COMPUTED
    named = {mention.name for mention in mentions if mention.name is not None} - {*contents.SEPARATE}
    assert {"brotli", "alembic.command", "detector.probe.http.client", "quickjs_rs"} <= named
    assert named - set(contents.hidden_imports()) <= {"compression.zstd"}  # which Python has since 3.14


def test_every_module_of_the_package_is_collected_and_exists() -> None:
    """Whatever name is computed, it is in the application."""
    found = {
        ".".join(("detector", *path.relative_to(contents.PACKAGE).parent.parts))
        if path.name == "__init__.py"
        else ".".join(("detector", *path.relative_to(contents.PACKAGE).with_suffix("").parts))
        for path in contents.PACKAGE.rglob("*.py")
        if path.parent.name != "versions" and "-" not in path.name
    }
    assert found - {"detector.history.migrations.versions"} <= set(contents.modules()) <= set(contents.hidden_imports())
    named = {m.name for m in contents.mentions() if m.name is not None and m.name.startswith("detector.")}
    assert sorted(named - set(contents.modules())) == []


def test_every_lazy_import_that_exists_is_collected() -> None:
    """The same asked of the running program: each `LazyModule` of each module."""
    programs = {"detector.history.migrations.env", "detector.frozen.standalone"}
    modules = [importlib.import_module(name) for name in contents.modules() if name not in programs]
    lazy = {each._name for module in modules for each in vars(module).values() if type(each) is LazyModule}
    assert "detector.probe.routes.pac_worker" in lazy
    assert sorted(lazy - set(contents.hidden_imports())) == []


def test_every_file_that_is_read_is_collected() -> None:
    """Each mention of `__file__` is known, and the files of its folder are in the application, there."""
    mentioning = {
        path.relative_to(contents.PACKAGE).as_posix()
        for path in contents.PACKAGE.rglob("*.py")
        if "__file__" in path.read_text("utf-8")
    }
    assert mentioning == set(READ)
    collected = contents.data_files(canaries_folder())
    assert {f"detector/{folder}" for folder in READ.values() if "/" in folder} - {
        folder for _, folder in collected
    } == {"detector/frozen/pyinstaller"}
    assert all(Path(file).is_file() for file, _ in collected)
    assert {Path(file).name for file, folder in collected if folder == "detector/pins/shipped"} == {
        path.name for path in canaries_folder().glob("*.toml")
    }
    assert set(contents.PACKAGE.rglob("*.json")) <= {Path(file) for file, _ in collected}


def test_files_of_other_distributions_exist() -> None:
    """Each pattern finds a file of the installed distribution, so that a new layout is noticed here."""
    for package, pattern in contents.DATA_OF.items():
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.submodule_search_locations is not None
        assert any(list(Path(folder).glob(pattern)) for folder in spec.submodule_search_locations), package


def test_pyinstaller_finds_the_hook() -> None:
    """The installed distribution names the folder where it is."""
    (entry,) = importlib.metadata.entry_points(group="pyinstaller40", name="hook-dirs").select(
        module="detector.frozen.pyinstaller"
    )
    assert entry.load() is get_hook_dirs
    assert [Path(folder, "hook-detector.py").is_file() for folder in get_hook_dirs()] == [True]
