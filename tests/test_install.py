"""What comes with an installation, and how it is put there: the container's steps, the wheel, notices, messages.

Room: tests. Reads the repository's files. Tests marked `lab` build the package: pip and uv ask a package index.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, NamedTuple

import build_notices
import pytest
from packaging.requirements import Requirement
from support.system import program

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parent.parent
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
RELATIVE_LINK: Final = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
INSTALLING: Final = re.compile(
    r"\b(?:pip3?|uv pip|pipx|uv tool) (?:install|inject) ((?:[^\s`\"'&;|)]+|\"[^\"]*\"|'[^']*')(?: (?!&&)[^\s`&;|)]+)*)"
)
"""A command that installs something, and what."""
TOOLS: Final = {"uv", "pipx", "pip", "pyinstaller"}
"""Index projects that commands may name: those that install others, and the freezer of docs/ship-it.md."""
VALUES_OF: Final = {"--group", "-r"}
"""Options of these commands that take a value."""
PERMISSIVE: Final = {"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "MPL-2.0", "PSF-2.0"}
"""Licenses under which anyone may ship what they cover; the MPL asks that its own files stay open."""


def named_projects(text: str) -> set[str]:
    """What commands in a text would fetch from an index by name."""
    found = set()
    for command in INSTALLING.findall(text):
        words = command.split()
        for before, word in zip(["", *words], words, strict=False):
            name = word.strip("\"'").partition("[")[0]
            if before not in VALUES_OF and not name.startswith((".", "-", "$")) and "/" not in name:
                found.add(name)
    return found


def test_named_projects_are_found() -> None:
    """The search itself finds a name, in any quotes and with extras, and lets paths and options pass."""
    assert named_projects("run `pip install 'tls-middleware-detector[pac]'`.") == {"tls-middleware-detector"}
    assert named_projects('"pipx install tls-middleware-detector"') == {"tls-middleware-detector"}
    assert named_projects("pip install --upgrade one two") == {"one", "two"}
    assert named_projects('pip install ".[all]" ./packages/testing --group dev && uv run x') == set()


@pytest.mark.parametrize("folder", ["detector", "packages", "docs", "share", "scripts", "."])
def test_nothing_is_installed_by_a_name_that_is_not_ours(folder: str) -> None:
    """No message and no page names an index project to install but known tools."""
    kinds = {".py", ".md", ".jinja", ".1", ".txt", ".toml"}
    files = [*(ROOT / folder).glob("*.*")] if folder == "." else [*(ROOT / folder).rglob("*")]
    texts = {path: path.read_text("utf-8") for path in files if path.suffix in kinds}
    assert texts
    wrong = {path.name: names for path, text in texts.items() if (names := named_projects(text) - TOOLS)}
    assert wrong == {}


class Step(NamedTuple):
    """One instruction of Containerfile."""

    verb: str
    rest: str


def steps() -> list[Step]:
    """The instructions of Containerfile, in order."""
    lines = (ROOT / "Containerfile").read_text("utf-8").replace("\\\n", " ").splitlines()
    return [Step(*line.split(None, 1)) for line in lines if line and not line.startswith("#")]


def test_the_image_has_no_surprises() -> None:
    """Two stages on one pinned base; only pip contacts a network; the last stage runs nothing and is not root."""
    verbs = [step.verb for step in steps()]
    assert set(verbs) <= {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "ENTRYPOINT"}
    bases = {step.rest.split()[0] for step in steps() if step.verb == "FROM"}
    assert len(bases) == 1
    assert re.fullmatch(r"docker\.io/library/python:3\.\d+-slim-\w+", bases.pop())
    last = steps()[len(verbs) - verbs[::-1].index("FROM") :]
    assert {step.verb for step in last} == {"COPY", "ENV", "USER", "WORKDIR", "ENTRYPOINT"}
    assert [step.rest for step in last if step.verb == "USER"] == ["10001:10001"]
    assert not re.search(r"\b(?:curl|wget|apt|apt-get|ADD)\b", (ROOT / "Containerfile").read_text("utf-8"))


def test_the_build_context_is_what_is_copied() -> None:
    """.dockerignore lets pass what Containerfile copies from the clone, and no more."""
    allowed = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text("utf-8"), re.MULTILINE)
    copied = [step.rest.split() for step in steps() if step.verb == "COPY" and not step.rest.startswith("--")]
    assert sorted(name.rstrip("/") for words in copied for name in words[:-1]) == sorted(allowed)


class Image:
    """A directory in place of an image's root; absolute paths in instructions lead there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.built: Path | None = None
        self.directory = root
        self.environment = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}

    def inside(self, text: str) -> str:
        """The text with the paths of the image's own directories below `root`."""
        return re.sub(r"(?<![\w./])/(?=opt/|src|home/)", f"{self.root}/", text)

    def do(self, step: Step) -> None:
        """Carry out one instruction."""
        match step.verb:
            case "FROM" if self.directory != self.root:  # a later stage: nothing of the one before is in it
                self.built = self.root.with_name("built")
                self.root.rename(self.built)
                self.directory = self.root
            case "WORKDIR":
                self.directory = Path(self.inside(step.rest))
                self.directory.mkdir(parents=True, exist_ok=True)
            case "ENV":
                name, value = step.rest.split("=", 1)
                self.environment[name] = self.inside(value)
            case "RUN":
                environment = {**os.environ, **self.environment}
                words = ["/bin/sh", "-c", self.inside(step.rest)]
                done = subprocess.run(  # noqa: S603 - runs the steps of this repository's Containerfile, which are shell commands
                    words, cwd=self.directory, env=environment, capture_output=True, text=True, check=False
                )
                assert done.returncode == 0, (step.rest, done.stdout, done.stderr)
            case "COPY":
                self._copy(step.rest.split())

    def _copy(self, words: list[str]) -> None:
        options = [word for word in words if word.startswith("--")]
        *sources, target = words[len(options) :]
        stage = self.built if "--from=build" in options else None
        destination = Path(self.inside(target)) if target.startswith("/") else self.directory / target
        for source in sources:
            found = stage / source.lstrip("/") if stage else ROOT / source
            if found.is_dir():
                shutil.copytree(found, destination, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                destination.mkdir(parents=True, exist_ok=True)
                shutil.copy2(found, destination)


@pytest.mark.lab
@pytest.mark.skipif(sys.platform == "win32", reason="the steps are commands of a POSIX shell")
def test_the_steps_of_the_container(tmp_path: Path) -> None:
    """Each step works, in order, and what the last stage has is enough: the entry point runs with all extras."""
    program("mkdir")  # which the image has, as a part of its base
    image = Image(tmp_path / "image")
    image.root.mkdir()
    for step in steps():
        image.do(step)
    assert image.built is not None
    shutil.rmtree(image.built)
    (entry,) = (step.rest for step in steps() if step.verb == "ENTRYPOINT")
    assert entry == '["detector"]'
    installed = shutil.which("detector", path=image.environment["PATH"])
    assert installed is not None
    assert installed.startswith(str(image.root))
    for words in (["--version"], ["pins", "lint"], ["rules"]):
        done = subprocess.run(  # noqa: S603 - no shell; runs what the steps of Containerfile installed
            [installed, *words], cwd=image.directory, env=image.environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
    names = [requirement.name for _, requirement in requirements()]
    python = Path(installed).with_name("python")
    ask = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    subprocess.run([python, "-c", ask, *names], env=image.environment, check=True)  # noqa: S603 - no shell; runs what the steps of Containerfile installed


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    words = [sys.executable, "-m", "uv", "build", "--quiet", "--out-dir", str(folder)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - no shell; builds this repository with the uv of this environment
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl")), next(folder.glob("*.tar.gz"))


@pytest.mark.lab
@pytest.mark.xdist_group("built")
def test_the_wheel_has_all_that_belongs_to_it(built: tuple[Path, Path]) -> None:
    """Man pages and completion are where an environment has them; license and notices are with the metadata."""
    with zipfile.ZipFile(built[0]) as wheel:
        names = set(wheel.namelist())
    data = f"tls_middleware_detector-{metadata.version('tls-middleware-detector')}"
    shared = [path.relative_to(ROOT).as_posix() for path in (ROOT / "share").rglob("*") if path.is_file()]
    assert {f"{data}.data/data/{path}" for path in shared} <= names
    assert {f"{data}.dist-info/licenses/{name}" for name in ("LICENSE", "THIRD_PARTY_NOTICES.md")} <= names
    assert {name.partition("/")[0] for name in names} == {"detector", f"{data}.data", f"{data}.dist-info"}


@pytest.mark.lab
@pytest.mark.xdist_group("built")
def test_the_description_has_no_link_into_the_repository(built: tuple[Path, Path]) -> None:
    """What an index shows of README.md links only to what a reader of the index can open, and is all there."""
    with zipfile.ZipFile(built[0]) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        about = Parser().parsestr(wheel.read(name).decode())
    description = str(about.get_payload())
    assert about["Description-Content-Type"] == "text/markdown"
    assert RELATIVE_LINK.findall(description) == []
    readme = (ROOT / "README.md").read_text("utf-8")
    assert "Guarded clients work with everything" in description
    assert re.findall(r"^## .*$", description, re.MULTILINE) == re.findall(r"^## .*$", readme, re.MULTILINE)


@pytest.mark.lab
@pytest.mark.xdist_group("built")
def test_links_in_the_source_distribution_lead_somewhere(built: tuple[Path, Path]) -> None:
    """Every relative link of README.md and of what it leads to names a file that the source distribution has."""
    with tarfile.open(built[1]) as sources:
        files = {str(PurePosixPath(*PurePosixPath(name).parts[1:])) for name in sources.getnames()}
    checked, open_ = set(), ["README.md"]
    while open_:
        document = open_.pop()
        checked.add(document)
        for target in RELATIVE_LINK.findall((ROOT / document).read_text("utf-8")):
            path = os.path.normpath(PurePosixPath(document).parent / target)
            assert path in files or any(file.startswith(f"{path}/") for file in files), f"{document}: {target}"
            if path.endswith(".md") and path not in checked:
                open_.append(path)
    assert {"README.md", "SECURITY.md", "docs/install.md", "packages/testing/README.md"} <= checked


def test_classifiers_claim_what_is_tested() -> None:
    """Every Python version named runs in the workflow; of systems, only the one where everything runs."""
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    claimed = [line.split(" :: ") for line in PROJECT["classifiers"]]
    versions = {words[-1] for words in claimed if words[:2] == ["Programming Language", "Python"]} - {
        "3 :: Only",
        "Only",
    }
    assert versions
    assert all(f'"{version}"' in workflow for version in versions)
    assert [words[-1] for words in claimed if words[0] == "Operating System"] == ["Linux"]
    assert ["Development Status", "3 - Alpha"] in claimed


def test_no_address_is_invented() -> None:
    """While the repository has no public address, neither the metadata nor SECURITY.md names one, or a person."""
    assert "urls" not in PROJECT
    text = (ROOT / "SECURITY.md").read_text("utf-8")
    assert not re.search(r"https?://|[\w.]+@[\w.]+", text)


def rows(package: str = "tls-middleware-detector") -> dict[str, list[str]]:
    """The table of packages in THIRD_PARTY_NOTICES.md, or the second one of the collector, by name."""
    page = (ROOT / "THIRD_PARTY_NOTICES.md").read_text("utf-8")
    parts = page.partition("## Packages that the collector requires")
    page = parts[2 if package == build_notices.COLLECTOR else 0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if "|" in line]
    return {row[0]: row[1:] for row in cells if len(row) == 5 and row[0] not in {"package", "---"}}


def requirements() -> Iterator[tuple[str, Requirement]]:
    """What pyproject.toml requires: the extra, or "always", and the requirement."""
    extras = PROJECT["optional-dependencies"]
    for extra, lines in {"always": PROJECT["dependencies"], **extras}.items():
        if extra != "all":
            yield from ((extra, Requirement(line)) for line in lines)


def test_notices_name_everything_that_is_required() -> None:
    """Each requirement of pyproject.toml is in the notices, with its lowest version and its extra.

    `python scripts/build_notices.py` writes the page. What those packages require in turn changes without this project,
    so of that the test asks for licenses only.
    """
    page, counted = rows(), 0
    assert rows(build_notices.COLLECTOR).keys() >= {"asyncpg", "joserfc", "litestar", "pydyf", "uvicorn"}
    for extra, requirement in requirements():
        version, needed_by, *_ = page[requirement.name]
        assert version == str(requirement.specifier), requirement.name
        assert needed_by == (extra if extra == "always" else f"extra `{extra}`"), requirement.name
        counted += 1
    assert counted == len([row for row in page.values() if row[0]])


@pytest.mark.parametrize("package", [build_notices.PACKAGE, build_notices.COLLECTOR])
def test_everything_required_may_be_shipped(package: str) -> None:
    """Each package that is installed with all extras has a permissive license, and the notices state it."""
    page = rows(package)
    for name in build_notices.required(package).through:
        license_ = build_notices.license_of(name)
        alternatives = [set(re.split(r" AND |[()]", choice)) - {""} for choice in license_.split(" OR ")]
        exceptionless = [{part.partition(" WITH ")[0].strip() for part in parts} for parts in alternatives]
        assert any(parts <= PERMISSIVE for parts in exceptionless), (name, license_)
        assert name not in page or page[name][2] == license_, name


def test_license_texts_of_everything_required() -> None:
    """The file of texts has one of each package, under its name and version."""
    text = "".join(build_notices.texts())
    for name in ("tls-middleware-detector", *build_notices.required().through):
        about = metadata.distribution(name)
        assert f"\n{about.name} {about.version}: " in text, name
    assert len(text) > 100_000


def test_the_install_page_has_every_extra() -> None:
    """The table of extras is that of pyproject.toml."""
    (table,) = re.findall(
        r"^\| extra \|.*\n\|[-|]+\n((?:\|.*\n)+)", (ROOT / "docs/install.md").read_text("utf-8"), re.MULTILINE
    )
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(PROJECT["optional-dependencies"])


def test_uv_trusts_the_machine_as_the_pages_say() -> None:
    """The option and the variable for networks that intercept TLS are uv's."""
    words = [sys.executable, "-m", "uv", "tool", "install", "--help"]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout  # noqa: S603 - no shell; program and options are chosen here
    named = set(re.findall(r"--system-certs|UV_SYSTEM_CERTS", (ROOT / "docs" / "install.md").read_text("utf-8")))
    assert named == {"--system-certs", "UV_SYSTEM_CERTS"}
    assert all(name in said for name in named)
    assert "`UV_SYSTEM_CERTS=1`" in (ROOT / "README.md").read_text("utf-8")
