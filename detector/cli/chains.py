"""`--save-chain`: presented certificates as PEM files that `detector examine` reads.

Room: cli.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from detector.model.files import unwritable
from detector.model.private_files import OWNER_ONLY
from detector.trust.certificate import KEY_NOT_PROVED, to_pem

from . import common

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from detector.model import Result

OPTION: Final = "--save-chain"
_FOLDER_MODE: Final = 0o700
"""Permissions of a new directory: only its owner may list it and read what is in it."""
_DEVICE: Final = re.compile(r"(?:con|prn|aux|nul|(?:com|lpt)[0-9])\.", re.IGNORECASE)
"""How a file's name begins that Windows takes for a device, whatever follows (Microsoft: Naming Files)."""


@contextlib.contextmanager
def saver(place: str, names: Sequence[str]) -> Iterator[Callable[[Sequence[Result]], None]]:
    """How the chains of these endpoints (`host:port`) are saved at `place`.

    The chain of one endpoint goes to a file. Those of several go to files in a directory, which is created. All are
    readable by their owner alone, and appear complete or not at all. Raises `OutputError`, at once where the place
    cannot be written.
    """
    if len(names) == 1 and not Path(place).is_dir():
        with common.later(place, OPTION, mode=OWNER_ONLY) as save:
            yield lambda results: save(lambda stream: stream.write("".join(map(_as_pem, _of(results, names[0])))))
    else:
        folder = Path(place)
        try:
            folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
        except (OSError, ValueError) as error:  # ValueError: a NUL character in the name
            raise unwritable(f"{OPTION} {place}", error, "Name a directory, or one that can be created.") from error
        yield lambda results: _save_each(folder, results)


def _of(results: Sequence[Result], name: str) -> Iterator[Result]:
    return (result for result in results if result.endpoint.name == name)


def _save_each(folder: Path, results: Sequence[Result]) -> None:
    for result in results:
        name = result.endpoint.name.translate({ord("["): None, ord("]"): None, ord(":"): "_"})
        name = f"_{name}.pem" if _DEVICE.match(name) else f"{name}.pem"
        with common.result_stream(str(folder / name), OPTION, mode=OWNER_ONLY) as stream:
            stream.write(_as_pem(result))


def _as_pem(result: Result) -> str:
    """The certificates that the verdict is based on, below a comment."""
    seen, name = result.observation, result.endpoint.name
    if not seen.chain:
        return f"# {name} presented no certificate ({seen.outcome}).\n"
    unproved = "" if seen.key_proved else f"{KEY_NOT_PROVED}\n"
    return f"# Presented by {name}, leaf first.\n{unproved}" + to_pem(one.der for one in seen.chain)
