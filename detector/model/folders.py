"""The folders in which this program keeps its files for one user, by the platform's convention.

Room: model. Reads the environment; makes no folder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from detector.aio.lazy import LazyModule

if TYPE_CHECKING:
    from pathlib import Path

    import platformdirs
else:
    platformdirs = LazyModule("platformdirs")

APPLICATION: Final = "tls-middleware-detector"
"""What this program's folders are called."""


def user_folder(kind: Literal["config", "data"]) -> Path | None:
    """The folder for configuration or data; None without a home directory."""
    try:
        if kind == "config":
            folder = platformdirs.user_config_path(APPLICATION, appauthor=False, roaming=True)
        else:
            folder = platformdirs.user_data_path(APPLICATION, appauthor=False)
    except RuntimeError:
        return None
    return folder if folder.is_absolute() else None  # versions before 4.14 do not expand "~" then, and do not raise
