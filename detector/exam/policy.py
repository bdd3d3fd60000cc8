"""What an institution wants at exam start: a `Policy`, as a record and as a TOML file.

Room: exam. Reads the policy file it is pointed to and nothing else. The form is described in docs/exam-gate.md.

A policy that cannot be used is refused as a whole: a misspelled key must not quietly mean a default.
"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from detector.errors import PolicyError, TargetError
from detector.model import Category, Endpoint, Record, toml_files
from detector.model.toml_files import shown
from detector.pins import parse_target

if TYPE_CHECKING:
    from collections.abc import Iterable

SCHEMA: Final = 1
"""Version of the policy form this reader knows."""

DEADLINE_DEFAULT: Final = 3.0
"""Seconds from the call to the decision: what a student waits at exam start without wondering."""
DEADLINE_LEAST: Final = 0.1
"""Seconds; in less not even a server next door can be asked."""
DEADLINE_MOST: Final = 60.0
"""Seconds; a gate answers while somebody waits. Longer observation is the watch's business."""
ENDPOINTS_MAX: Final = 128
"""Endpoints of one gate. Judging a genuine chain takes about 2 ms, so these take half of the time that the session
keeps back for judging; the rest is for slower machines."""

_KIND: Final = "exam policy"
_KEYS: Final = (
    "schema",
    "name",
    "on_unconfirmed",
    "on_stale_pin",
    "scope",
    "require_witness",
    "deadline",
    "endpoints",
    "pins",
)
_WITNESS_ADVICE: Final = ', or write a list of hosts: ["exam.example.edu"]'
_HOST_ADVICE: Final = "Write HOST or HOST:PORT, as in the pin file."

_E = TypeVar("_E", bound=enum.StrEnum)


class Action(enum.StrEnum):
    """What the exam client should do, mildest first."""

    ALLOW = "allow"
    WARN = "warn"
    BLOCK = "block"

    @property
    def rank(self) -> int:
        """0 for the mildest."""
        return list(Action).index(self)


class OnUnconfirmed(enum.StrEnum):
    """What to do where an endpoint that must be confirmed was not."""

    BLOCK = "block"
    WARN = "warn"


class OnStalePin(enum.StrEnum):
    """What to do where a certificate is accepted and publicly logged, and only the pins do not fit."""

    WARN = "warn"
    REFUSE = "refuse"


class PolicyScope(enum.StrEnum):
    """Whose interception keeps an exam from beginning: that of the endpoints that must be confirmed, or of any."""

    ENDPOINT = "endpoint"
    NETWORK = "network"


class Policy(Record, frozen=True, kw_only=True):
    """What to do about what is found at exam start, and on the connections of a guarded client.

    Endpoints of category `exam`, pinned ones and named ones must be confirmed. `on_unconfirmed` is what happens where
    one is not, `on_stale_pin` where only its pins do not fit. `scope` says whether interception of other endpoints, at
    `probable` or above, warns or blocks. `require_witness` is a category all of whose endpoints only a witness
    confirms, or a list of `HOST[:PORT]`. `deadline` is in seconds. `endpoints` (`HOST[:PORT]`) are the named ones,
    probed instead of everything in the pin files. `pins` are pin files or directories of them; without them the shipped
    ones are used.

    Raises `PolicyError` when a value is not one of those.
    """

    name: str = "default"
    on_unconfirmed: OnUnconfirmed = OnUnconfirmed.BLOCK
    on_stale_pin: OnStalePin = OnStalePin.WARN
    scope: PolicyScope = PolicyScope.ENDPOINT
    require_witness: Category | tuple[str, ...] = ()
    deadline: float = DEADLINE_DEFAULT
    endpoints: tuple[str, ...] = ()
    pins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check and normalise what was given: a policy that exists can be used."""
        settle = msgspec.structs.force_setattr  # the record is frozen for everybody after this
        settle(self, "on_unconfirmed", _member("on_unconfirmed", self.on_unconfirmed, OnUnconfirmed))
        settle(self, "on_stale_pin", _member("on_stale_pin", self.on_stale_pin, OnStalePin))
        settle(self, "scope", _member("scope", self.scope, PolicyScope))
        settle(self, "endpoints", _names("endpoints", self.endpoints))
        if len(self.endpoints) > ENDPOINTS_MAX:
            raise _wrong("endpoints", f"are more than {ENDPOINTS_MAX}", "Name those that the exam depends on.")
        if isinstance(self.require_witness, str):
            settle(self, "require_witness", _member("require_witness", self.require_witness, Category, _WITNESS_ADVICE))
        else:
            settle(self, "require_witness", _names("require_witness", self.require_witness))
        settle(self, "deadline", check_deadline(self.deadline))

    @classmethod
    def load(cls, path: str | Path) -> Policy:
        """Read a policy file (TOML). Raises `PolicyError` naming the file, the field and what to do."""
        return _File(Path(path), PolicyError).read()

    @classmethod
    def resolve(cls, source: Policy | str | Path | None) -> Policy:
        """The policy to go by: a policy, the path of a policy file, or None for the default. Raises `PolicyError`."""
        if source is None:
            return cls()
        return source if isinstance(source, Policy) else cls.load(source)

    def requires_witness(self, name: str, category: Category) -> bool:
        """Whether only a witness confirms the endpoint of this name (`host:port`) and category."""
        if isinstance(self.require_witness, Category):
            return category is self.require_witness
        return name in self.require_witness


def check_deadline(deadline: object) -> float:
    """A deadline that can be kept, in seconds. Raises `PolicyError`."""
    if isinstance(deadline, bool) or not isinstance(deadline, (int, float)):
        raise _wrong("deadline", "is not a number of seconds", "Write deadline = 3.0, without quotes.")
    if not DEADLINE_LEAST <= deadline <= DEADLINE_MOST:  # not a number is in no range either
        raise _wrong(
            "deadline", f"is not between {DEADLINE_LEAST} and {DEADLINE_MOST:.0f} seconds", "Write deadline = 3.0."
        )
    return float(deadline)


def _wrong(field: str, reason: str, advice: str) -> PolicyError:
    return PolicyError(f"{field}: {reason}.", advice=advice)


def _member(field: str, value: object, kind: type[_E], more: str = "") -> _E:
    known = [member.value for member in kind]
    if not isinstance(value, str) or value not in known:
        raise _wrong(field, f"{shown(value)} is none", f"Choose one of {', '.join(known)}{more}.")
    return kind(value)


def _names(field: str, values: object) -> tuple[str, ...]:
    """Endpoints in their one spelling, `host:port`, each once."""
    names = []
    for index, value in enumerate(_listed(field, values)):
        if not isinstance(value, str):
            raise _wrong(f"{field}[{index}]", f"{shown(value)} is not text", _HOST_ADVICE)
        try:
            host, port = parse_target(value)
        except TargetError as error:
            raise _wrong(f"{field}[{index}]", error.message.removesuffix("."), _HOST_ADVICE) from error
        names.append(Endpoint(host=host, port=port).name)
    return tuple(dict.fromkeys(names))


def _listed(field: str, values: object) -> Iterable[object]:
    if not isinstance(values, (list, tuple, set, frozenset)):
        raise _wrong(field, "is not a list", f'Write {field} = ["…"].')
    return values


class _File(toml_files.TableFile):
    """One policy file while it is being read."""

    def read(self) -> Policy:
        content = toml_files.read(self._path, kind=_KIND, error=PolicyError)
        self._known_keys(content, _KEYS)
        self._schema(content, SCHEMA)
        given: dict[str, Any] = {key: value for key, value in content.items() if key in _AS_THEY_ARE}
        given["name"] = self._text(content, "name") or self._path.stem
        given["pins"] = self._each(content, "pins", self._pins)
        if content.get("pins") == []:
            self._refuse("pins", "is empty: nothing would be pinned", "Leave it out to use the shipped pin files.")
        if content.get("endpoints") == []:
            self._refuse(
                "endpoints", "is empty: nothing would be probed", "Leave it out to probe all of the pin files."
            )
        try:
            return Policy(**given)
        except PolicyError as error:
            raise PolicyError(f"{self._path}: {error.message}", advice=error.advice) from error

    def _pins(self, field: str, name: str) -> str:
        """A path relative to the policy file. What it holds is read by `detector.pins`."""
        if not name.strip() or not name.isprintable():
            self._refuse(field, f"{shown(name)} is not a path", "Give a pin file, relative to this file.")
        return str(self._path.parent / name)


_AS_THEY_ARE: Final = frozenset(_KEYS) - {"schema", "name", "pins"}
"""Fields that `Policy` itself checks."""
