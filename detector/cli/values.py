"""What a shell offers for the value of an option or argument: files, directories, hosts of pin files, fixed words.

Room: cli. The metavar of a parameter says what it takes, in help and here. Pin files are read to complete a host.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import click
from click.shell_completion import CompletionItem

from detector.errors import DetectorError
from detector.model.validate import HTTPS_PORT
from detector.session.settings import Expectations

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES: Final = frozenset({"FILE", "PEM", "BUNDLE", "STATE", "CHAIN.pem"})
"""Words of a metavar that stand for the path of a file."""
DIRECTORY: Final = "DIR"
HOST: Final = "HOST"
_WORD: Final = re.compile(r"[\w.:]+")


class Value(click.types.StringParamType):
    """Text of which the metavar says what it is: `FILE`, `DIR`, `HOST`, or a word to write literally (`none`)."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """What may be written here. Files come first: bash forgets what precedes them."""
        words = _WORD.findall(param.metavar or "")
        items = []
        if not FILES.isdisjoint(words):
            items.append(CompletionItem(incomplete, type="file"))
        elif DIRECTORY in words:
            items.append(CompletionItem(incomplete, type="dir"))
        fixed = [word for word in words if word.isalpha() and word.islower()]
        hosts = _hosts(ctx) if HOST in words else ()
        return items + [CompletionItem(word) for word in (*fixed, *hosts) if word.startswith(incomplete)]


def _hosts(context: click.Context) -> Iterator[str]:
    """The endpoints of the pin files on the command line, or of the shipped ones; none of files that cannot be read."""
    settings = context.params.get("settings", {})
    given = settings.get("pins") or context.params.get("pins")
    try:
        endpoints = Expectations(data=settings.get("data"), pins=given or None).pin_set.endpoints
    except DetectorError:
        return
    yield from dict.fromkeys(each.host if each.port == HTTPS_PORT else each.name for each in endpoints)


VALUE: Final = Value()
