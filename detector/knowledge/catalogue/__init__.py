"""The catalogue: what known interception products write into the certificates they forge, and who matches it.

Room: catalogue. Reads the package's own data and nothing else: no sockets, no clock.
"""

from .entries import Confidence, Entry, Fact, Field, Match, ProductCategory, Role, Strength, Unnamed, Where
from .load import Edition, edition, parse, shipped
from .match import Catalogue, Hit, HitKind, Names

__all__ = [
    "Catalogue",
    "Confidence",
    "Edition",
    "Entry",
    "Fact",
    "Field",
    "Hit",
    "HitKind",
    "Match",
    "Names",
    "ProductCategory",
    "Role",
    "Strength",
    "Unnamed",
    "Where",
    "edition",
    "parse",
    "shipped",
]
