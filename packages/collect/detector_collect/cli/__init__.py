"""The command line of the collector: one module per command, nothing but arguments and output.

Room: detector_collect.cli. Errors, exit codes and options are those of `detector.cli`. A command is a module of its
name with a click command of its name, listed in `SECTIONS`.
"""

from __future__ import annotations

from typing import Final

import click

from detector.cli import Commands, options
from detector.version import VERSION

SECTIONS: Final = {
    "Set up": ("migrate", "institution", "key"),
    "Run": ("serve",),
    "Assess": ("work", "reverify", "assess"),
    "Let people in": ("person", "grant", "token", "platform"),
    "Hold to account": ("audit",),
    "Keep and erase": ("retention", "expire", "erase", "hold"),
    "Notify": ("receiver", "deliver"),
}
"""The commands, as help lists them; each is imported when it is used."""


@options.group(
    "detector-collect migrate --database sqlite:///collect.sqlite",
    "detector-collect institution list --database postgresql://collector@db.example.com/collector",
    name="detector-collect",
    commands=Commands({name: name for names in SECTIONS.values() for name in names}, __name__),
    sections=SECTIONS,
    context_settings={"max_content_width": 100, "auto_envvar_prefix": "DETECTOR_COLLECT"},
)
@click.version_option(VERSION, prog_name="detector-collect")
def collect() -> None:
    """Collect evidence of TLS interception from many institutions.

    Every option can also be set in the environment: DETECTOR_COLLECT_DATABASE holds for all commands, others are named
    after their command (DETECTOR_COLLECT_KEY_ADD_RATE=60).
    """
