"""Reads pin files: TOML in, a `PinSet` of endpoints out, or one sentence that says what is wrong.

Room: pins. Reads the pin files that are named and the private roots that they name; no sockets, no clock.

A pin file that cannot be used never means "no pins": whatever is unknown, ambiguous or missing is refused with the
file, the endpoint, the field, the reason and what to do. docs/pin-files.md describes the format.

Only the files that come with the package may mark canaries: a canary's substitution is proof.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import difflib
import enum
import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from detector.aio.lazy import LazyModule
from detector.errors import PinFileError, TargetError
from detector.knowledge.data_set import canaries_folder
from detector.knowledge.part import horizon_of
from detector.model import Category, Endpoint, Knowledge, KnowledgeKind, Record, RecordedIdentity, toml_files
from detector.model.files import reason_of, unreadable
from detector.model.toml_files import MAX_BYTES, MAX_TEXT, shown
from detector.model.validate import HTTPS_PORT, PORT_MAX

from .encoding import parse_pin, parse_witness_key
from .target import parse_address, parse_host

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from cryptography import x509

    from detector.knowledge.data_set import DataSet, PinFile
else:  # 13 ms that pin files without a private PKI need not wait for
    x509 = LazyModule("cryptography.x509")

_E = TypeVar("_E", bound=enum.StrEnum)

SCHEMA: Final = 1
"""Version of the pin-file format that this reader knows."""

MAX_ENDPOINTS: Final = 5000
"""Most endpoints in one pin set. One check opens a connection to each; more than this is a scan, not a pin set."""

VENDOR: Final = "vendor:"
"""Begins a source of pins that is no path: those of a vendor, as the installed data set has them."""

_KIND: Final = "pin file"
_FILE_KEYS: Final = ("schema", "name", "updated", "expires", "endpoint")
_ENDPOINT_KEYS: Final = (
    "host",
    "port",
    "category",
    "pins",
    "backup_pins",
    "certificates",
    "roots",
    "operator",
    "private_roots",
    "witness",
    "witness_is_end",
    "identity",
    "quic",
    "address",
)
_KNOWLEDGE_KEYS: Final = ("canary", "runs_ca")
"""Further keys of an endpoint, for the files of the package only."""

_PEM: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----(?P<base64>[A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----"  # RFC 7468 section 5
)
_WITNESS_ADVICE: Final = 'Write witness = "ed25519/<base64>" as `detector witness keygen` prints it.'
_IDENTITY_ADVICE: Final = (
    'Write identity = "public" where the pins come from a publicly trusted and logged certificate, '
    'identity = "unknown" otherwise.'
)
_PIN_ADVICE: Final = 'Write "sha256/<base64>", bare base64 or "sha256:<hexadecimal>" of a SHA-256 digest.'


class PinSet(Record, frozen=True, kw_only=True):
    """The endpoints of one or several pin files.

    Of several files, `name` joins their names, `updated` is the newest and `expires` the earliest date given; each
    endpoint carries the `expires` and `source` of its own file. `sources` are the files as they were named.
    `knowledge` identifies the pins of vendors among them.
    """

    name: str
    updated: dt.date | None = None
    expires: dt.date | None = None
    endpoints: tuple[Endpoint, ...]
    sources: tuple[str, ...] = ()
    knowledge: tuple[Knowledge, ...] = ()


def load(
    paths: str | Path | Sequence[str | Path], *, root_labels: Collection[str], data: DataSet | None = None
) -> PinSet:
    """Read pin files, and directories of them (every *.toml, sorted by name), into one set.

    `vendor:NAME` stands for the pins of that vendor in the installed set of `data`. `root_labels` are the names of
    public roots that a `roots` entry may use: known ones, trusted or not.

    Raises:
        PinFileError: a file is not exactly a pin file.
    """
    named = [paths] if isinstance(paths, (str, Path)) else list(paths)
    vendors = [name for name in map(str, named) if name.startswith(VENDOR)]
    files = [file for path in named if str(path) not in vendors for file in _files(Path(path))]
    if not files and not vendors:
        raise PinFileError("No pin file was named.", advice="Name a pin file or a directory of pin files.")
    contents = [(file, toml_files.read(file, kind=_KIND, error=PinFileError)) for file in files]
    shipped = canaries_folder()
    sets = [
        _File(file, root_labels, is_knowledge=file.resolve().parent == shipped).read(content)
        for file, content in contents
    ]
    sets += [_of_vendor(name, data, root_labels) for name in dict.fromkeys(vendors)]
    endpoints = tuple(endpoint for pin_set in sets for endpoint in pin_set.endpoints)
    _refuse_duplicates(endpoints)
    if len(endpoints) > MAX_ENDPOINTS:
        raise PinFileError(
            f"{', '.join(map(str, named))}: {len(endpoints)} endpoints; at most {MAX_ENDPOINTS} make one pin set.",
            advice="Split the files and check the parts one after another.",
        )
    return _joined(sets, endpoints)


def _joined(sets: Sequence[PinSet], endpoints: tuple[Endpoint, ...]) -> PinSet:
    return PinSet(
        name=", ".join(pin_set.name for pin_set in sets),
        updated=max((pin_set.updated for pin_set in sets if pin_set.updated), default=None),
        expires=min((pin_set.expires for pin_set in sets if pin_set.expires), default=None),
        endpoints=endpoints,
        sources=tuple(source for pin_set in sets for source in pin_set.sources),
        knowledge=tuple(part for pin_set in sets for part in pin_set.knowledge),
    )


def _of_vendor(source: str, data: DataSet | None, root_labels: Collection[str]) -> PinSet:
    """The pins that a vendor signed. They state no more than a user's own file may."""
    vendor = source.removeprefix(VENDOR)
    files = () if data is None else data.pins_of(vendor)
    if not files:
        installed = ", ".join(sorted(data.vendors)) if data is not None else ""
        raise PinFileError(
            f"{shown(source)}: no pins of this vendor are installed.",
            advice=f"Installed are those of {installed}." if installed else "Run `detector data update --vendor NAME`.",
        )
    sets = []
    for path, content in files:
        named = Path(f"{source}/{path.name}")  # not the folder, which can contain a person's name
        table = toml_files.parse(named, content, error=PinFileError)
        sets.append(_SetFile(named, root_labels, is_knowledge=False).read(table))
    joined = _joined(sets, tuple(endpoint for pin_set in sets for endpoint in pin_set.endpoints))
    return msgspec.structs.replace(joined, knowledge=(_identity(source, joined, files),))


def _identity(source: str, pin_set: PinSet, files: Sequence[PinFile]) -> Knowledge:
    """Identify a vendor's pins. The hash is over the hashes of the files, by name."""
    updated, expires = pin_set.updated, pin_set.expires
    return Knowledge(
        kind=KnowledgeKind.PINS,
        name=source,
        date=updated,
        horizon=expires if updated is None else horizon_of(KnowledgeKind.PINS, updated, expires),
        sha256=hashlib.sha256(b"".join(hashlib.sha256(file.data).digest() for file in files)).hexdigest(),
    )


def of_knowledge(path: Path, content: bytes, *, root_labels: Collection[str]) -> PinSet:
    """Read the content of a data set's own pin file, which may have canaries. Raises `PinFileError`."""
    return _SetFile(path, root_labels, is_knowledge=True).read(toml_files.parse(path, content, error=PinFileError))


def shipped(data: DataSet, *, root_labels: Collection[str]) -> PinSet:
    """Read the pin file of a data set's own endpoints, its canaries among them."""
    while True:
        path, content = data.canaries
        try:
            return of_knowledge(path, content, root_labels=root_labels)
        except PinFileError as error:
            if not data.leave_out(KnowledgeKind.CANARIES, error.message):
                raise


def _files(path: Path) -> list[Path]:
    """Return the pin files of a path. A directory without any is refused: it would mean "no pins"."""
    try:
        if not path.is_dir():
            return [path]
        files = sorted(file for file in path.iterdir() if file.suffix == ".toml")
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the name
        raise unreadable(path, error, kind=_KIND, error=PinFileError) from error
    if not files:
        raise PinFileError(f"{path}: the directory holds no pin file (*.toml).", advice="Name the right directory.")
    return files


def _refuse_duplicates(endpoints: Iterable[Endpoint]) -> None:
    """Two entries for one endpoint would contradict or hide each other."""
    seen: dict[tuple[str, int], Endpoint] = {}
    for endpoint in endpoints:
        first = seen.setdefault((endpoint.host, endpoint.port), endpoint)
        if first is not endpoint:
            where = "twice" if first.source == endpoint.source else f"here and in {first.source}"
            raise PinFileError(
                f"{endpoint.source}: endpoint {endpoint.name}: host: listed {where}.", advice="Keep one of the two."
            )


class _File(toml_files.TableFile):
    """One pin file while it is being read."""

    def __init__(self, path: Path, root_labels: Collection[str], *, is_knowledge: bool) -> None:
        super().__init__(path, PinFileError)
        self._root_labels = root_labels
        self._is_knowledge = is_knowledge

    def read(self, content: dict[str, Any]) -> PinSet:
        self._known_keys(content, _FILE_KEYS)
        self._schema(content, SCHEMA)
        name = self._text(content, "name") or self._path.stem
        updated = self._date(content, "updated")
        expires = self._date(content, "expires")
        tables = content.get("endpoint")
        if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
            self._refuse("endpoint", "there is none", "Write each endpoint as a table under [[endpoint]].")
        endpoints = tuple(self._endpoint(number, table, expires) for number, table in enumerate(tables, start=1))
        return PinSet(name=name, updated=updated, expires=expires, endpoints=endpoints, sources=(str(self._path),))

    def _endpoint(self, number: int, table: dict[str, Any], expires: dt.date | None) -> Endpoint:
        self._where = f" endpoint number {number}:"
        if "host" not in table:
            self._endpoint_keys(table)  # it may be there under a misspelled key
        host = self._host(table)
        port = self._port(table)
        self._where = f" endpoint {Endpoint(host=host, port=port).name}:"
        self._endpoint_keys(table)
        return Endpoint(
            host=host,
            port=port,
            category=self._choice(table, "category", Category.OTHER),
            pins=self._keys(table, "pins", parse_pin, _PIN_ADVICE),
            backup_pins=self._keys(table, "backup_pins", parse_pin, _PIN_ADVICE),
            certificates=self._keys(table, "certificates", parse_pin, _PIN_ADVICE),
            roots=self._each(table, "roots", self._root),
            operator=self._text(table, "operator"),
            private_roots=tuple(
                der for found in self._each(table, "private_roots", self._private_root) for der in found
            ),
            witness=self._witness(table),
            witness_is_end=self._flag(table, "witness_is_end"),
            identity=self._choice(table, "identity", RecordedIdentity.UNKNOWN, _IDENTITY_ADVICE),
            canary=self._flag(table, "canary"),
            runs_ca=self._flag(table, "runs_ca"),
            quic=self._flag(table, "quic"),
            address=self._address(table, port),
            expires=expires,
            source=str(self._path),
        )

    def _endpoint_keys(self, table: dict[str, Any]) -> None:
        for key in _KNOWLEDGE_KEYS:
            if key in table and not self._is_knowledge:
                self._refuse(
                    key,
                    "only the files that come with this package may say that",
                    'Remove it; write roots = ["…"] to say which public roots an endpoint of yours uses.',
                )
        self._known_keys(table, (*_ENDPOINT_KEYS, *(_KNOWLEDGE_KEYS if self._is_knowledge else ())))

    def _host(self, table: dict[str, Any]) -> str:
        host = table.get("host")
        if not isinstance(host, str):
            self._refuse("host", "is missing" if host is None else "is not text", 'Write host = "exam.example.edu".')
        try:
            return parse_host(host)
        except TargetError as error:
            self._refuse("host", error.message.removesuffix("."), "Write the host name alone; port has its own key.")

    def _port(self, table: dict[str, Any]) -> int:
        port = table.get("port", HTTPS_PORT)
        if type(port) is not int or not 1 <= port <= PORT_MAX:
            self._refuse("port", f"is not a number from 1 to {PORT_MAX}", "Write port = 443, without quotes.")
        return int(port)

    def _choice(self, table: dict[str, Any], key: str, default: _E, advice: str = "") -> _E:
        """Read a member of the enum of `default`."""
        value = table.get(key, default)
        known = [member.value for member in type(default)]
        if not isinstance(value, str) or value not in known:
            self._refuse(key, f"{shown(value)} is not known", advice or f"Choose one of {', '.join(known)}.")
        return type(default)(value)

    def _address(self, table: dict[str, Any], port: int) -> tuple[str, int] | None:
        address = table.get("address")
        if address is None:
            return None
        if not isinstance(address, str):
            self._refuse("address", "is not text", 'Write address = "127.0.0.1:8443".')
        try:
            return parse_address(address, port=port)
        except TargetError as error:
            self._refuse("address", error.message.removesuffix("."), error.advice)

    def _keys(self, table: dict[str, Any], key: str, parse: Callable[[str], bytes], advice: str) -> tuple[bytes, ...]:
        """Read a list of keys or digests."""

        def read(field: str, text: str) -> bytes:
            try:
                return parse(text)
            except ValueError as error:
                self._refuse(field, f"{shown(text)} {error}", advice)

        return self._each(table, key, read)

    def _witness(self, table: dict[str, Any]) -> tuple[bytes, ...]:
        """Read the keys of a witness: one text, or a list of them while a key is being rotated."""
        if isinstance(table.get("witness"), str):
            table = {"witness": [table["witness"]]}
        return self._keys(table, "witness", parse_witness_key, _WITNESS_ADVICE)

    def _root(self, field: str, label: str) -> str:
        if label not in self._root_labels:
            near = difflib.get_close_matches(label[:MAX_TEXT], self._root_labels, n=1)
            advice = f'Did you mean "{near[0]}"?' if near else "Use the name certifi's bundle labels the root with."
            self._refuse(field, f"no public root is known as {shown(label)}", advice)
        return label

    def _private_root(self, field: str, name: str) -> tuple[bytes, ...]:
        path = self._path.parent / name
        advice = "Give the path of a PEM file of CA certificates, relative to the pin file."
        try:
            if not path.is_file():
                self._refuse(field, f"{shown(name)} is not a file", advice)
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except (OSError, ValueError) as error:
            self._refuse(field, f"{shown(name)} cannot be read: {reason_of(error)}", advice)
        if len(data) > MAX_BYTES:
            self._refuse(field, f"{shown(name)} is larger than {MAX_BYTES} bytes", advice)
        found: list[bytes] = []
        for match in _PEM.finditer(data):
            try:
                der = base64.b64decode(b"".join(match["base64"].split()), validate=True)
                x509.load_der_x509_certificate(der)
            except (binascii.Error, ValueError):
                self._refuse(field, f"certificate {len(found) + 1} in {shown(name)} cannot be read", advice)
            found.append(der)
        if not found:
            self._refuse(field, f"{shown(name)} holds no PEM certificate", advice)
        return tuple(found)

    def _date(self, table: dict[str, Any], key: str) -> dt.date | None:
        value = table.get(key)
        if value is None:
            return None
        if not isinstance(value, dt.date) or isinstance(value, dt.datetime):
            self._refuse(key, "is not a date", f"Write {key} = 2026-11-01, without quotes or time.")
        return value


class _SetFile(_File):
    """A pin file of a data set. It names no files: those it did name would be this machine's."""

    def _private_root(self, field: str, name: str) -> tuple[bytes, ...]:
        del name
        self._refuse(field, "the pin files of a data set name no files", "Name them in a pin file of your own.")
