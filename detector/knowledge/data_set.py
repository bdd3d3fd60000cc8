"""A data set: everything that is known beforehand, as the package ships it or as an update installed it.

Room: knowledge. Reads the package's own data files, and the folder of installed sets.

`shipped()` is what the package carries. `installed()` takes, part by part, the newer of that and of the set that serves
in a folder (`detector.knowledge.store`); of two of the same age the shipped one. There is no current set: what assesses
gets one as an argument. A part is read when it is first needed.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import logging
import os
import threading
import tomllib
from collections.abc import Callable  # noqa: TC003 - a NamedTuple's annotation
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from detector.aio.lazy import LazyModule
from detector.errors import KnowledgeError
from detector.model import Knowledge, KnowledgeKind

from . import roots
from .part import Head, decode, decode_shipped

if TYPE_CHECKING:
    from collections.abc import Collection

    from detector.trust.ct_logs import LogList
    from detector.trust.intermediates import Intermediates
    from detector.trust.revocations import Revocations
    from detector.trust.roots import Roots

    from . import browser_offers, ct_logs, intermediates, known_roots, revocations, store
    from . import catalogue as catalogues
    from . import client_hellos as client_hello_files
    from .browser_offers import BrowserOffers
    from .catalogue import Catalogue
    from .client_hellos import HelloProfiles
    from .known_roots import KnownRoots
    from .store import StoredSet

else:
    browser_offers = LazyModule("detector.knowledge.browser_offers")
    catalogues = LazyModule("detector.knowledge.catalogue")
    ct_logs = LazyModule("detector.knowledge.ct_logs")
    client_hello_files = LazyModule("detector.knowledge.client_hellos")
    intermediates = LazyModule("detector.knowledge.intermediates")
    known_roots = LazyModule("detector.knowledge.known_roots")
    revocations = LazyModule("detector.knowledge.revocations")
    store = LazyModule("detector.knowledge.store")

LOG: Final = logging.getLogger("detector.knowledge")

DATA: Final = Path(__file__).with_name("data")
SHIPPED: Final = "shipped"
"""The name of what the package ships, in reports and as the choice of a user."""
ROOT_CERTIFICATES: Final = "root_certificates.json"
_PINS: Final = "pins/"


_H = TypeVar("_H", bound=Head)


class PartFile(NamedTuple):
    """The file of a part, the version of its form that this package reads, and the form itself.

    The form is given when it is needed, because its module is loaded then; None for pin files, which the room of pins
    reads.
    """

    name: str
    schema: int
    form: Callable[[], type[Head]] | None


PARTS: Final = {
    KnowledgeKind.ROOTS: PartFile("roots.json", 3, lambda: known_roots.KnownRoots),
    KnowledgeKind.LOGS: PartFile("ct_logs.json", 4, lambda: ct_logs.LogsFile),
    KnowledgeKind.INTERMEDIATES: PartFile("intermediates.json", 1, lambda: intermediates.IntermediatesFile),
    KnowledgeKind.REVOCATIONS: PartFile("revocations.json", 1, lambda: revocations.RevocationsFile),
    KnowledgeKind.CATALOGUE: PartFile("interceptors.json", 2, lambda: catalogues.CatalogueFile),
    KnowledgeKind.CLIENT_HELLOS: PartFile("client_hellos.json", 2, lambda: client_hello_files.HelloProfiles),
    KnowledgeKind.BROWSER_OFFERS: PartFile("browser_offers.json", 1, lambda: browser_offers.BrowserOffersFile),
    KnowledgeKind.CANARIES: PartFile("canaries.toml", 1, None),
}
"""The parts of a data set. roots.json comes with `ROOT_CERTIFICATES`, of the same version."""

_ADVICE: Final = "Run `detector data update`, or install this package again."

_DAY: Final = dt.timedelta(days=1)
"""A part may be dated a day after its set was published: the two days can be of different time zones."""


class PinFile(NamedTuple):
    """A pin file of a data set: its path, for messages and reports, and its content."""

    path: Path
    data: bytes


class _Part(NamedTuple):
    """The file of a part from one source: `name` says which in reports, `path` in messages."""

    name: str
    path: Path
    head: Head
    data: bytes


class DataSet:
    """Everything that is known beforehand: each part from the package, or from `stored` where that is newer.

    `warnings` has a sentence on each set and each part that was left aside; reading a part can add one. Thread-safe.
    """

    def __init__(self, stored: StoredSet | None = None, warnings: tuple[str, ...] = ()) -> None:
        self.stored: Final = stored
        self.warnings: Final[list[str]] = []
        self._lock: Final = threading.RLock()
        self._candidates: Final[dict[KnowledgeKind, list[_Part]]] = {}
        self._contents: Final[dict[KnowledgeKind, Head]] = {}
        self._certificates: tuple[bytes, ...] = ()
        self._public_roots: Final[dict[dt.date | None, Roots]] = {}
        for sentence in warnings:
            self._warn(sentence)

    @cached_property
    def known_roots(self) -> KnownRoots:
        """Every root that is or was public, with its history."""
        return self._content(KnowledgeKind.ROOTS, known_roots.KnownRoots)

    @property
    def root_certificates(self) -> tuple[bytes, ...]:
        """The certificates (DER) of `known_roots`, in the same order."""
        self._serving(KnowledgeKind.ROOTS)
        return self._certificates

    @cached_property
    def logs(self) -> LogList:
        """The CT logs."""
        content = self._content(KnowledgeKind.LOGS, ct_logs.LogsFile)
        return content.listed(self.part(KnowledgeKind.LOGS))

    @cached_property
    def intermediates(self) -> Intermediates:
        """Publicly known intermediate certificates, by hash."""
        return self._content(KnowledgeKind.INTERMEDIATES, intermediates.IntermediatesFile).listed()

    @cached_property
    def revocations(self) -> Revocations:
        """Revoked CA certificates."""
        return self._content(KnowledgeKind.REVOCATIONS, revocations.RevocationsFile).listed()

    @cached_property
    def catalogue(self) -> Catalogue:
        """The catalogue of interceptors and leaked keys."""
        return catalogues.Catalogue(self._content(KnowledgeKind.CATALOGUE, catalogues.CatalogueFile).entries)

    @property
    def client_hellos(self) -> HelloProfiles:
        """The ClientHellos of browsers."""
        return self._content(KnowledgeKind.CLIENT_HELLOS, client_hello_files.HelloProfiles)

    @cached_property
    def browser_offers(self) -> BrowserOffers:
        """What browser families ever offered."""
        return browser_offers.BrowserOffers(
            self._content(KnowledgeKind.BROWSER_OFFERS, browser_offers.BrowserOffersFile)
        )

    @property
    def canaries(self) -> PinFile:
        """The pin file of our own canaries, which `detector.pins` reads."""
        part = self._serving(KnowledgeKind.CANARIES)
        return PinFile(part.path, part.data)

    @property
    def vendors(self) -> frozenset[str]:
        """The vendors whose pins the installed set has."""
        return frozenset(vendors_in(() if self.stored is None else self.stored.files))

    def pins_of(self, vendor: str) -> tuple[PinFile, ...]:
        """The pin files of a vendor, sorted by name; empty where the installed set has none."""
        if self.stored is None:
            return ()
        files = sorted(path for path in self.stored.files if path.startswith(f"{_PINS}{vendor}/"))
        return tuple(PinFile(self.stored.folder / path, self.stored.files[path]) for path in files)

    @cached_property
    def certifi(self) -> roots.CertifiBundle:
        """How the installed certifi differs from the known roots; read once."""
        return roots.certifi_bundle(self.known_roots)

    def public_roots(self, at: dt.date | None = None) -> Roots:
        """The public roots, on the day `at` for past captures (`detector.knowledge.roots.public_roots`)."""
        if (found := self._public_roots.get(at)) is None:
            known, part = self.known_roots, self.part(KnowledgeKind.ROOTS)
            found = self._public_roots[at] = roots.public_roots(
                known, self.root_certificates, at, identity=part, bundle=lambda: self.certifi
            )
        return found

    def part(self, kind: KnowledgeKind) -> Knowledge:
        """Name, version, date and hash of a part, for reports."""
        part = self._named(kind)
        return Knowledge(
            kind=kind,
            name=part.name,
            version=str(part.head.version or ""),  # pin files have none
            date=part.head.date,
            horizon=part.head.current_until(kind),
            sha256=hashlib.sha256(part.data).hexdigest(),
        )

    def parts(self) -> tuple[Knowledge, ...]:
        """Name, version, date and hash of every part, for reports."""
        return tuple(map(self.part, PARTS))

    def is_updated(self, kind: KnowledgeKind) -> bool:
        """Whether an installed file serves as this part, and not what the package ships."""
        return self._named(kind).name != SHIPPED

    def path_of(self, kind: KnowledgeKind) -> Path:
        """The file that serves as this part, for messages."""
        return self._serving(kind).path

    def leave_out(self, kind: KnowledgeKind, reason: str) -> bool:
        """Leave out the file that serves as a part, because its reader refused it; return whether another serves now.

        `reason` is a sentence that names the file.
        """
        with self._lock:
            candidates = self._candidates[kind]
            if len(candidates) == 1:
                return False
            del candidates[0]
            self._contents.pop(kind, None)
            self._warn(f"{reason} It is left out, and what the package ships serves.")
            return True

    def _content(self, kind: KnowledgeKind, form: type[_H]) -> _H:
        self._serving(kind)
        content = self._contents[kind]
        if not isinstance(content, form):
            raise TypeError(f"{kind}: {form.__name__} is not the form of this part")
        return content

    def _named(self, kind: KnowledgeKind) -> _Part:
        """The file of a part that `_serving` returns. One that nothing can replace is not decoded to be named."""
        with self._lock:
            candidates = self._newest_first(kind)
            return candidates[0] if len(candidates) == 1 else self._serving(kind)

    def _serving(self, kind: KnowledgeKind) -> _Part:
        """The newest file of a part that can be read. Raises `KnowledgeError` when that is not even the shipped one."""
        with self._lock:
            candidates = self._newest_first(kind)
            while kind not in self._contents:
                part = candidates[0]
                try:
                    self._contents[kind] = self._decoded(kind, part)
                except KnowledgeError as error:
                    if not self.leave_out(kind, error.message):
                        raise
            return candidates[0]

    def _newest_first(self, kind: KnowledgeKind) -> list[_Part]:
        """The files of a part, by date, then by version; of two alike the shipped one first. They are read once."""
        if kind in self._candidates:
            return self._candidates[kind]
        name = PARTS[kind].name
        path = canaries_folder() / name if kind is KnowledgeKind.CANARIES else DATA / name
        data = path.read_bytes()
        found = [_Part(SHIPPED, path, _head(kind, data, path), data)]
        if self.stored is not None and name in self.stored.files:
            path, data = self.stored.folder / name, self.stored.files[name]
            try:
                head = _head(kind, data, path)
                _refuse_future(head, path, self.stored.manifest.published)
            except KnowledgeError as error:
                self._warn(f"{error.message} It is left out, and what the package ships serves. {error.advice}")
            else:
                found.append(_Part(self.stored.manifest.repository, path, head, data))
        newest_first = sorted(found, key=lambda part: (part.head.date, part.head.version), reverse=True)
        return self._candidates.setdefault(kind, newest_first)

    def _decoded(self, kind: KnowledgeKind, part: _Part) -> Head:
        form = PARTS[kind].form
        if form is None:
            return part.head
        read = decode_shipped if part.name == SHIPPED else decode
        content = read(part.data, form(), name=str(part.path), schema=PARTS[kind].schema)
        if kind is KnowledgeKind.ROOTS and isinstance(content, known_roots.KnownRoots):
            self._certificates = self._certificates_of(part, content)
            self._refuse_forgetful(part, content)
        return content

    def _refuse_forgetful(self, part: _Part, known: KnownRoots) -> None:
        """Refuse a list that lacks a root of an older one: what it signed would pass for a private CA's."""
        kept = {root.sha256 for root in known.roots}
        for older in self._candidates[KnowledgeKind.ROOTS][1:]:
            before = decode(older.data, known_roots.KnownRoots, name=str(older.path), schema=older.head.schema)
            if forgotten := [root.label for root in before.roots if root.sha256 not in kept]:
                raise KnowledgeError(
                    f"{part.path}: lacks {len(forgotten)} of the roots of an older list, {forgotten[0]} among them.",
                    advice="A removed root stays listed, with the day of its removal.",
                )

    def _certificates_of(self, part: _Part, known: KnownRoots) -> tuple[bytes, ...]:
        path = part.path.with_name(ROOT_CERTIFICATES)
        from_set = self.stored is not None and part.path.parent == self.stored.folder
        data = self.stored.files.get(ROOT_CERTIFICATES, b"") if self.stored and from_set else path.read_bytes()
        schema = PARTS[KnowledgeKind.ROOTS].schema
        listed = decode(data, known_roots.RootCertificates, name=str(path), schema=schema)
        if [hashlib.sha256(der).hexdigest() for der in listed.certificates] != [root.sha256 for root in known.roots]:
            raise KnowledgeError(f"{path}: not the certificates of {part.path.name}.", advice=_ADVICE)
        return listed.certificates

    def _warn(self, sentence: str) -> None:
        LOG.warning("%s", sentence)
        self.warnings.append(sentence)


def vendors_in(paths: Collection[str]) -> tuple[str, ...]:
    """The vendors whose pin files are among the paths of a set, sorted."""
    return tuple(sorted({path.split("/")[1] for path in paths if path.startswith(_PINS)}))


def _head(kind: KnowledgeKind, data: bytes, path: Path) -> Head:
    """The head of a part's file, of which the rest is not read. Raises `KnowledgeError`."""
    name, schema, form = PARTS[kind]
    if form is not None:
        return decode(data, Head, name=str(path), schema=schema)
    try:
        # The keys of the file itself stand before its first table (TOML 1.0, "Table").
        content = tomllib.loads(data.decode("utf-8").partition("\n[[")[0])
        return Head(schema=schema, version=0, date=_day(content, "updated"), horizon=_day(content, "expires"))
    except (ValueError, RecursionError) as error:
        raise KnowledgeError(f"{path}: not {name} with a day and an end: {error}.", advice=_ADVICE) from error


def published_by(at: dt.datetime) -> dt.date:
    """The last day of which a part can be that was published at this moment."""
    return at.date() + min(_DAY, dt.date.max - at.date())


def _refuse_future(head: Head, path: Path, published: dt.datetime) -> None:
    """Refuse a part that claims to know of days after its set was published: it would be the newest for ever."""
    if head.date > published_by(published):
        raise KnowledgeError(f"{path}: `date` is {head.date}, after the set was published.", advice=_ADVICE)


def _day(content: dict[str, object], key: str) -> dt.date:
    day = content.get(key)
    if type(day) is not dt.date:
        raise ValueError(f"{key} is no date")
    return day


if TYPE_CHECKING:
    DataSource = DataSet | str | Path


def canaries_folder() -> Path:
    """The folder of the pin files that come with the package: `pins/` of a checkout, `pins/shipped/` of a package."""
    package = Path(__file__).resolve().parent.parent
    in_wheel = package / "pins" / "shipped"
    return in_wheel if in_wheel.is_dir() else package.parent / "pins"


@functools.cache
def shipped() -> DataSet:
    """What the package ships."""
    return DataSet()


def installed(folder: str | Path | None = None) -> DataSet:
    """The newest of what the package ships and of what an update installed in a folder, by default the user's own.

    A set that cannot be used is left aside, with a warning. Raises `KnowledgeError` where the folder that was named
    holds no sets.
    """
    place = store.default_folder() if folder is None else Path(folder)
    if place is None:
        return shipped()
    if folder is not None and not os.path.isfile(place / store.CURRENT):  # noqa: PTH113 - Path.is_file raises for a name that is too long
        raise KnowledgeError(
            f"{place}: no data sets are installed there (it has no {store.CURRENT}).",
            advice=f"Name a folder that `detector data update` filled, or `{SHIPPED}`.",
        )
    opened = store.open_installed(place)
    return DataSet(*opened) if any(opened) else shipped()


def read(source: DataSource | None) -> DataSet:
    """The data set that a user chose: a set, `shipped`, a folder, or None for the user's own folder.

    Raises `KnowledgeError`, as `installed` does.
    """
    if isinstance(source, DataSet):
        return source
    if source is not None and not isinstance(source, str | Path):
        raise KnowledgeError(
            f"a {type(source).__name__} is no data set.", advice=f"Give a folder, a DataSet, or {SHIPPED!r}."
        )
    return shipped() if source == SHIPPED else installed(source)
