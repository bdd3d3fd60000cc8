"""Defaults from a configuration file, for every option of every command.

Room: cli.

    # detector.toml
    [check]
    pins = ["/etc/detector/pins"]
    deadline = 5

    [scan]
    rate = 50

A table is a command (`[pins.learn]` one of a group), a key an option with `_` for `-`. Anything else is refused with
the file, the table and the key: a misspelled option would be ignored silently. The file is one that the user names or
has in the configuration directory; never one in the current folder, which may be anybody's.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from detector.errors import SettingsError
from detector.model import toml_files
from detector.model.files import reason_of
from detector.model.folders import user_folder

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

SETTINGS_BYTES_MAX: Final = 1024 * 1024
"""Bytes of a configuration file that are read; it has a few lines."""

VARIABLE: Final = "DETECTOR_CONFIG"
PREFIX: Final = "DETECTOR"
"""Every option can be set in the environment too: DETECTOR_CHECK_DEADLINE for `check --deadline`."""


def default_file() -> Path | None:
    """The user's configuration file by the platform's convention; None without a home directory."""
    folder = user_folder("config")
    return None if folder is None else folder / "detector.toml"


def defaults(named: str | None, group: click.Group) -> dict[str, Any]:
    """The defaults for click (`default_map`) from the file `named`, or from the default file if it exists.

    Raises `SettingsError`.
    """
    path = Path(named) if named else default_file()
    if path is None:
        return {}
    try:
        if named is None and not path.is_file():
            return {}
        with path.open("rb") as file:
            data = file.read(SETTINGS_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        advice = "Name a readable file." if named else f"Set HOME to your own, or --config {os.devnull} for none."
        raise SettingsError(f"{path}: cannot be read ({reason_of(error)}).", advice=advice) from error
    if len(data) > SETTINGS_BYTES_MAX:
        raise SettingsError(f"{path}: larger than {SETTINGS_BYTES_MAX} bytes.", advice="Name a configuration file.")
    try:
        table = toml_files.decode(data)
    except ValueError as error:
        why = "not text in UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise SettingsError(f"{path}: is not TOML ({why}).", advice="Correct it at that place.") from error
    return _commands(path, "", table, group)


def _commands(path: Path, where: str, table: Mapping[str, Any], group: click.Group) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, content in table.items():
        command = group.commands.get(name)
        if command is None:
            _refuse(path, f"{where}{name}", "is not a command", name, group.commands)
        if not isinstance(content, dict):
            _refuse(path, f"{where}{name}", "is not a table", advice=f"Write [{where}{name}] above its options.")
        if isinstance(command, click.Group):
            nested = {key: value for key, value in content.items() if key in command.commands}
            rest = {key: value for key, value in content.items() if key not in nested}
            inner = _commands(path, f"{where}{name}.", nested, command)
            found[name] = {**inner, **_options(path, f"{where}{name}", rest, command)}
        else:
            found[name] = _options(path, f"{where}{name}", content, command)
    return found


def _options(path: Path, where: str, table: Mapping[str, Any], command: click.Command) -> dict[str, Any]:
    known = {
        flag.lstrip("-").replace("-", "_"): parameter
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for flag in parameter.opts
    }
    found: dict[str, Any] = {}
    for key, value in table.items():
        option = known.get(key)
        if option is None or option.name is None:
            _refuse(path, f"{where}: {key}", "is not an option", key, known)
        found[option.name] = _value(path, f"{where}: {key}", value, option)
    return found


def _value(path: Path, where: str, value: Any, option: click.Option) -> Any:  # noqa: ANN401 - TOML
    """A value as click takes it, which checks its range and type as on the command line."""
    if option.multiple != isinstance(value, list):
        wanted = "a list" if option.multiple else "one value, not a list"
        _refuse(path, where, f"must be {wanted}", advice="See --help of the command.")
    if option.is_flag != isinstance(value, bool):
        wanted = "true or false" if option.is_flag else "a value, not true or false"
        _refuse(path, where, f"must be {wanted}", advice="See --help of the command.")
    if option.is_flag:
        return value
    words = [str(item) for item in value] if isinstance(value, list) else [str(value)]
    if any("\0" in word for word in words):  # no command line can hold one, and no command expects one
        _refuse(path, where, "holds a NUL character", advice="Remove it.")
    return words if isinstance(value, list) else words[0]


def _refuse(  # noqa: PLR0913 - the parts of one message
    path: Path, where: str, reason: str, word: str = "", known: Collection[str] = (), *, advice: str = ""
) -> NoReturn:
    if not advice:
        near = difflib.get_close_matches(word[:80], list(known), n=1)
        advice = f"Did you mean {near[0]}?" if near else f"Known here: {', '.join(sorted(known))}."
    raise SettingsError(f"{path}: {where[:200]} {reason}.", advice=advice)
