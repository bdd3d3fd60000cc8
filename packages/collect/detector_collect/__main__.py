"""The command `detector-collect`, also `python -m detector_collect`.

Room: detector_collect.cli. Exit codes and error messages are those of `detector`.
"""

from __future__ import annotations

from detector.cli import run

from .cli import collect


def main() -> None:
    """Run the command and exit."""
    raise SystemExit(run(program=collect))


if __name__ == "__main__":
    main()
