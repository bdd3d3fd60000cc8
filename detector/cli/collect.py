"""`detector collect`: the commands of `detector-collect`, where it is installed.

Room: cli. The collector, `detector_collect`, is a distribution of its own; what follows the command is passed on to it.
"""

from __future__ import annotations

import importlib.util

import click

from . import options


@options.command(
    "detector collect --help",
    "detector collect migrate --database sqlite:///collect.sqlite",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []},
)
@click.pass_context
def collect(
    context: click.Context,
    *,
    arguments: tuple[str, ...] = options.argument(nargs=-1, type=click.UNPROCESSED, metavar="COMMAND [ARGS]..."),
) -> object:
    """Collect evidence of many institutions: the service of a vendor.

    It is a package of its own. Its commands are those of `detector-collect`, which docs/collect-cli.md lists.
    """
    if importlib.util.find_spec("detector_collect") is None:
        raise click.ClickException(
            "The collector is not installed. Install it from a clone of this project: pip install ./packages/collect"
        )
    from detector_collect.cli import collect as program  # noqa: PLC0415 - another distribution, imported on use alone

    with program.make_context(context.command_path, list(arguments)) as inner:
        return program.invoke(inner)
