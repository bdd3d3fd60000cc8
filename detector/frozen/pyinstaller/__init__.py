"""PyInstaller's entry point of this package (`pyinstaller40`): where its hook is.

Room: frozen. Read by PyInstaller when an application is built; `hook-detector.py` is the hook.
"""

from __future__ import annotations

from pathlib import Path


def get_hook_dirs() -> list[str]:
    """Return the folder of `hook-detector.py`, as PyInstaller's manual says ("Providing PyInstaller hooks")."""
    return [str(Path(__file__).parent)]
