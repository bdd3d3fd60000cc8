"""PyInstaller's hook: an application that imports `detector` gets what `contents` lists.

Room: frozen. Runs inside PyInstaller when an application is built.
"""

from __future__ import annotations

import importlib.util

from PyInstaller.utils.hooks import collect_data_files, collect_dynamic_libs, copy_metadata

from detector.frozen import contents
from detector.knowledge.data_set import canaries_folder

hiddenimports = contents.hidden_imports()
excludedimports = list(contents.SEPARATE)
datas = contents.data_files(canaries_folder())
binaries: list[tuple[str, str]] = []
for package, pattern in contents.DATA_OF.items():
    if importlib.util.find_spec(package) is not None:
        datas += collect_data_files(package, includes=[pattern])
for package in contents.LIBRARIES_OF:
    if importlib.util.find_spec(package) is not None:
        binaries += collect_dynamic_libs(package, search_patterns=["*.so", "*.dylib", "*.dll"])
for distribution in contents.METADATA_OF:
    datas += copy_metadata(distribution)
