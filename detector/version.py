"""The version of this package, in one place that costs nothing to import.

Room: model.
"""

from typing import Final

VERSION: Final = "0.1.0"
