"""Which files of a repository belong to a set of the knowledge, who may sign them, and how large they may be.

Room: update. Pure. Nothing of what a repository calls a file becomes a path before `is_vendor_file` or the closed table
of parts has accepted it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from detector.errors import HeldBackError
from detector.knowledge import data_set
from detector.knowledge.part import PART_BYTES_MAX
from detector.knowledge.store import SET_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tuf.api.metadata import DelegatedRole, Targets

PARTS: Final = (*(part.name for part in data_set.PARTS.values()), data_set.ROOT_CERTIFICATES)
"""The files that the offline role `targets` signs, and no other role may."""
FILE_BYTES_MAX: Final = PART_BYTES_MAX
"""Largest part, in bytes: what its reader takes."""
PIN_FILE_BYTES_MAX: Final = 256 * 1024
"""Largest pin file of a vendor, in bytes. An endpoint takes under 1 KiB there."""
TARGETS_MAX: Final = 64
"""Files that one role may list. There are nine parts, and a vendor has a pin file per product."""
VENDORS_MAX: Final = 16
"""Vendors whose pins one set holds: an institution uses one or two."""
NAME_CHARACTERS_MAX: Final = 64
"""Characters in the name of a vendor or of its file, far below the 255 bytes that file systems allow."""
SHOWN_CHARACTERS_MAX: Final = 80
"""Characters of a foreign name shown in a message."""

STAYS: Final = "The set in use stays."
TELL: Final = f"{STAYS} Tell the publisher of the repository."

_VENDOR: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?", re.ASCII)
_FILE: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,58}\.toml", re.ASCII)
_PLAIN: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", re.ASCII)
_DEVICES: Final = frozenset(
    ("con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10)))
)
"""Names that Windows takes for devices, with any extension (Microsoft, "Naming Files, Paths, and Namespaces")."""


def shown(text: str, most: int = SHOWN_CHARACTERS_MAX) -> str:
    """A foreign text for a message: bounded, and escaped where it is not printable ASCII."""
    short = text if len(text) <= most else f"{text[:most]}..."
    return ascii(short)[1:-1]


def is_vendor(name: str) -> bool:
    """Whether this may be the name of a vendor: lower-case letters, digits and hyphens, and no device."""
    return _VENDOR.fullmatch(name) is not None and not _is_device(name)


def is_vendor_file(path: str, vendor: str) -> bool:
    """Whether `path` is a pin file in this vendor's own folder."""
    folder, slash, name = path.rpartition("/")
    return bool(slash) and folder == f"pins/{vendor}" and _FILE.fullmatch(name) is not None and not _is_device(name)


def _is_device(name: str) -> bool:
    return name.partition(".")[0].lower() in _DEVICES


def listed(role: str, paths: Iterable[str]) -> tuple[str, ...]:
    """The paths that a role lists, sorted. Raises `HeldBackError` when there are more than any set has."""
    found = tuple(sorted(paths))
    if len(found) > TARGETS_MAX:
        raise HeldBackError(
            f"The role {shown(role)} lists {len(found)} files, and a set has at most {TARGETS_MAX} of one role.",
            advice=TELL,
        )
    return found


def parts_of(targets: Targets) -> tuple[dict[str, int], dict[str, str]]:
    """The parts that the offline role lists, with their lengths, and what of it is left out, with a sentence for each.

    Raises `HeldBackError` for a name that no file of a set has, and for a part that is too large.
    """
    lengths: dict[str, int] = {}
    left_out: dict[str, str] = {}
    for path in listed("targets", targets.targets):
        if path in PARTS:
            lengths[path] = _bounded(path, targets.targets[path].length, FILE_BYTES_MAX)
        elif _PLAIN.fullmatch(path) and not _is_device(path):
            left_out[path] = "This version does not know this part. Update the package to use it."
        else:
            raise HeldBackError(
                f"The role targets lists {shown(path)!r}, which is no name of a file in a set.", advice=TELL
            )
    return lengths, left_out


def pins_of(vendor: str, targets: Targets) -> tuple[dict[str, int], dict[str, str]]:
    """The pin files that a vendor's role lists, with their lengths, and what of it is left out.

    A vendor signs its own folder alone. What else it lists is named and not used: it would cost others their update if
    a vendor's key could hold it back. Raises `HeldBackError` for too many files, and for one that is too large.
    """
    lengths: dict[str, int] = {}
    left_out: dict[str, str] = {}
    for path in listed(vendor, targets.targets):
        if is_vendor_file(path, vendor):
            lengths[path] = _bounded(path, targets.targets[path].length, PIN_FILE_BYTES_MAX)
        else:
            left_out[f"{vendor}: {shown(path)}"] = f"The vendor {vendor} signs nothing outside pins/{vendor}/."
    return lengths, left_out


def _bounded(path: str, length: int, most: int) -> int:
    if length > most:
        raise HeldBackError(
            f"{path}: the repository says that it has {length} bytes, and this version reads at most {most}.",
            advice=f"{STAYS} Update the package, or tell the publisher of the repository.",
        )
    return length


def check_total(lengths: Mapping[str, int]) -> None:
    """Raise `HeldBackError` for a set that is too large as a whole."""
    total = sum(lengths.values())
    if total > SET_BYTES_MAX:
        raise HeldBackError(f"The set has {total} bytes, and this version takes at most {SET_BYTES_MAX}.", advice=TELL)


def delegated_vendors(targets: Targets) -> dict[str, DelegatedRole]:
    """The roles that sign pins, by vendor.

    Raises `HeldBackError` when a delegation, whatever it is for, covers a part of the knowledge: only the offline role
    `targets` may add roots or anything else. Hash bins cannot be read for what they cover, so they count as covering.
    """
    delegations = targets.delegations
    if delegations is None:
        return {}
    if delegations.roles is None:
        raise HeldBackError("The repository delegates by hash bins, which could sign any part.", advice=_DELEGATION)
    for name, role in delegations.roles.items():
        covered = [part for part in PARTS if role.is_delegated_path(part)]
        if covered:
            raise HeldBackError(
                f"The repository lets the role {shown(name)} sign {covered[0]}, which only the offline role may.",
                advice=_DELEGATION,
            )
    return {name: role for name, role in delegations.roles.items() if is_vendor(name)}


_DELEGATION: Final = f"{STAYS} A delegated role is to sign pins/<vendor>/ alone: tell the publisher of the repository."


def check_vendor(vendor: str, targets: Targets) -> None:
    """Raise `HeldBackError` unless this vendor's role alone signs its folder, and nothing else, and terminates.

    A delegation that does not terminate, or another one that covers the folder, would let a second role add pins there.
    """
    roles = delegated_vendors(targets)
    own = {f"pins/{vendor}/*", f"pins/{vendor}/*.toml"}
    role = roles[vendor]
    every = targets.delegations.roles if targets.delegations and targets.delegations.roles else {}
    others = [name for name, other in every.items() if name != vendor and other.is_delegated_path(any_file_of(vendor))]
    if role.terminating and role.paths and own.issuperset(role.paths) and not others:
        return
    wrong = f"the role {shown(others[0])} may sign them, too" if others else "it is not its folder alone, or goes on"
    raise HeldBackError(f"What the repository delegates to the vendor {vendor} is wrong: {wrong}.", advice=_DELEGATION)


def any_file_of(vendor: str) -> str:
    """A path that the delegation to this vendor covers."""
    return f"pins/{vendor}/-.toml"
