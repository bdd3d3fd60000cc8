"""The catalogue: what known interception products write into the certificates they forge, and matching against it.

Room: knowledge. Pure.
"""

from .entries import CatalogueFile, Confidence, Entry, Fact, Field, Match, ProductCategory, Role, Strength, Where
from .match import Catalogue, Hit, HitKind, Names

__all__ = [
    "Catalogue", "CatalogueFile", "Confidence", "Entry", "Fact", "Field", "Hit", "HitKind", "Match", "Names",
    "ProductCategory", "Role", "Strength", "Where",
]  # fmt: skip
