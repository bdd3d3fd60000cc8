"""Pins of other programs: their files into pin sets and back (docs/pin-files.md).

Room: pins. Pure: bytes, names and the day are arguments.

Nothing is dropped without a word. What a format cannot say of an endpoint is refused with the endpoint and the field,
unless the caller asked to leave that field out. What a foreign file says besides pins comes back as notes. A pattern is
not expanded: the caller names the hosts. What `lint` calls an error is refused, and imported pins have unknown origin.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

import msgspec

from detector.errors import PinFileError
from detector.model import Endpoint
from detector.model.toml_files import MAX_BYTES, shown
from detector.model.validate import HTTPS_PORT
from detector.pins.lint import Severity, lint
from detector.pins.load import PinSet

from . import android, hpkp, okhttp, plists
from .entry import Entry, Format, Found, Scope, Written, refuse

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Collection, Iterable, Sequence

    from detector.knowledge.data_set import DataSet


class PinFormat(enum.StrEnum):
    """Formats whose pins are imported."""

    TRUSTKIT = "trustkit"
    ATS = "ats"
    ANDROID = "android"
    OKHTTP = "okhttp"
    HPKP = "hpkp"
    SEB = "seb"


class KeysOf(enum.StrEnum):
    """Whose keys pins are, where a format asks for it."""

    LEAF = "leaf"
    CA = "ca"


FORMATS: Final = {
    PinFormat.TRUSTKIT: Format("TrustKit", plists.read_trustkit, plists.write_trustkit, expires=True, least=2),
    PinFormat.ATS: Format("App Transport Security", plists.read_ats, plists.write_ats),
    PinFormat.ANDROID: Format("Android's network security configuration", android.read, android.write, expires=True),
    PinFormat.OKHTTP: Format("OkHttp", okhttp.read, okhttp.write, adds_up=True),
    PinFormat.HPKP: Format("the header Public-Key-Pins", hpkp.read, hpkp.write, expires=True, least=2),
    PinFormat.SEB: Format("Safe Exam Browser", plists.read_seb, None),
}
"""TrustKit and browsers (RFC 7469 section 2.5) refuse fewer than two pins: one has to be a backup. Settings of Safe
Exam Browser are not written: they hold whole certificates, and a pin is the digest of a key."""

FIELDS_LEFT_OUT: Final = (
    "category", "operator", "identity", "certificates", "roots", "private_roots", "witness", "witness_is_end", "quic",
    "address", "expires",
)  # fmt: skip
"""Fields of an endpoint that an export may leave out."""

_ALWAYS: Final = ("host", "pins", "backup_pins", "source")


def import_pins(  # noqa: PLR0913 - what a caller knows of a file
    data: bytes, form: PinFormat, *, file: str, at: dt.date, known: DataSet, name: str, hosts: Sequence[str] = ()
) -> tuple[PinSet, tuple[str, ...]]:
    """Read a file of another program; return its pins, and notes on what it says besides.

    `file` is its name, for messages, `name` that of the pin set, `at` today; `known` says what keys are known of.
    `hosts` are those, in canonical form, whose pins are wanted; all that the file names if empty.

    Raises:
        PinFileError: the file is not of this format, or says what a pin file cannot.
    """
    if len(data) > MAX_BYTES:
        raise PinFileError(f"{file}: larger than {MAX_BYTES} bytes.", advice="Give the file with the pins alone.")
    try:
        found = FORMATS[form].read(data, at)
        chosen = _chosen(found, hosts, adds_up=FORMATS[form].adds_up)
        expires = {entry.expires for entry in chosen}
        if len(expires) > 1:
            dates = ", ".join(f"{entry.host} ({entry.expires or 'never'})" for entry in chosen[:3])
            refuse("expires", f"the pins expire on different days: {dates}", "Import one host at a time, with --host.")
        pin_set = PinSet(
            name=name,
            updated=at,
            expires=chosen[0].expires,
            endpoints=tuple(Endpoint(host=one.host, pins=one.pins, expires=one.expires) for one in chosen),
        )
        for message in lint(pin_set, at=at, data=known):
            if message.severity is Severity.ERROR:
                field = "pins" if message.endpoint else "expires"
                refuse(f"{message.endpoint or name}: {field}", message.message.removesuffix("."), "")
    except PinFileError as error:
        raise PinFileError(f"{file}: {error.message}", advice=error.advice) from error
    return pin_set, found.notes


def _chosen(found: Found, hosts: Sequence[str], *, adds_up: bool) -> list[Entry]:
    """An entry for each host: those named, or else those that the file names alone. Raises `PinFileError`."""
    seen: set[str] = set()
    for entry in found.entries:
        if entry.host in seen and not adds_up:
            refuse(entry.host, "is there twice", "Keep one of the two.")
        seen.add(entry.host)
    if hosts:
        return [_of_host(host, found.entries, adds_up=adds_up) for host in dict.fromkeys(hosts)]
    pins: dict[str, dict[bytes, None]] = {}
    for entry in found.entries:
        if entry.scope is not Scope.HOST and entry.pins:
            refuse(
                entry.host or "host",
                f"its pins hold for {entry.scope.value}, and a pin file names each host",
                "Name the hosts with --host.",
            )
        pins.setdefault(entry.host, {}).update(dict.fromkeys(entry.pins))
    expires = {entry.host: entry.expires for entry in found.entries}
    return [Entry(host, Scope.HOST, tuple(of), expires[host]) for host, of in pins.items() if of]


def _of_host(host: str, entries: Iterable[Entry], *, adds_up: bool) -> Entry:
    fitting = sorted((entry for entry in entries if entry.covers(host)), key=lambda entry: -len(entry.host))
    if not adds_up:
        fitting = fitting[:1]
    pins = tuple(dict.fromkeys(pin for entry in fitting for pin in entry.pins))
    if not pins:
        refuse(shown(host), "the file has no pins for this host", "Name a host that it has pins for.")
    return Entry(host, Scope.HOST, pins, fitting[0].expires)


def export_pins(  # noqa: PLR0913 - what the caller may ask for
    pin_set: PinSet,
    form: PinFormat,
    *,
    at: dt.date,
    leave_out: Collection[str] = (),
    backups_as_pins: bool = False,
    keys_of: KeysOf | None = None,
) -> str:
    """Write the endpoints of a pin set as a file of another program.

    `at` is today. Fields of `FIELDS_LEFT_OUT` in `leave_out` may be lost. With `backups_as_pins` backup pins are
    written like the others, as no format marks them. `keys_of` says whose keys all pins are, for `PinFormat.ATS`.

    Raises:
        PinFileError: an endpoint has what the format cannot say.
    """
    known = FORMATS[form]
    if known.write is None:
        raise PinFileError(
            f"{known.title} cannot be written: it holds whole certificates, and pins are digests of keys.",
            advice="Embed the certificates in its own editor.",
        )
    endpoints = [_sayable(one, known, set(leave_out), backups_as_pins=backups_as_pins) for one in pin_set.endpoints]
    issuers = None if keys_of is None else keys_of is KeysOf.CA
    return known.write(Written(endpoints, at, issuers))


def _sayable(endpoint: Endpoint, form: Format, leave_out: set[str], *, backups_as_pins: bool) -> Endpoint:
    """The endpoint with what the format says alone. Raises `PinFileError`."""
    plain = Endpoint(host=endpoint.host)
    says = {*_ALWAYS, *(("expires",) if form.expires else ())}
    for field in Endpoint.__struct_fields__:
        if field in says or getattr(endpoint, field) == getattr(plain, field) or field in leave_out:
            continue
        cure = f" or leave it out with --leave-out {field}" if field in FIELDS_LEFT_OUT else " from the export"
        refuse(f"{endpoint.name}: {field}", f"{form.title} cannot say it", f"Remove it{cure}.")
    if ":" in endpoint.host or endpoint.host.rpartition(".")[2].isdecimal():
        refuse(f"{endpoint.name}: host", f"{form.title} pins names, not addresses", "Remove the endpoint.")
    if endpoint.backup_pins and not backups_as_pins:
        refuse(
            f"{endpoint.name}: backup_pins",
            f"{form.title} does not mark backup pins",
            "Write them like the others with --backups-as-pins.",
        )
    pins = tuple(dict.fromkeys((*endpoint.pins, *endpoint.backup_pins)))
    if len(pins) < form.least:
        refuse(
            f"{endpoint.name}: pins",
            f"{form.title} needs at least {form.least}, and there are {len(pins)}",
            "Add the pin of the next key.",
        )
    expires = endpoint.expires if form.expires and "expires" not in leave_out else None
    return msgspec.structs.replace(plain, pins=pins, expires=expires, port=HTTPS_PORT)


__all__ = ["FIELDS_LEFT_OUT", "FORMATS", "KeysOf", "PinFormat", "export_pins", "import_pins"]
