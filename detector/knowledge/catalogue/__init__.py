"""The catalogue: what known interception products write into the certificates they forge, and matching against it.

Room: knowledge. Reads the package's own data only.
"""

from .entries import Confidence, Entry, Fact, Field, Match, ProductCategory, Role, Strength, Where
from .load import Edition, edition, shipped
from .match import Catalogue, Hit, HitKind, Names

__all__ = [
    "Catalogue", "Confidence", "Edition", "Entry", "Fact", "Field", "Hit", "HitKind", "Match", "Names",
    "ProductCategory", "Role", "Strength", "Where", "edition", "shipped",
]  # fmt: skip
