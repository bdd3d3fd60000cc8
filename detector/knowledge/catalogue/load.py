"""The form of the catalogue's data file.

Room: knowledge. Pure: `detector.knowledge.data_set` reads the file.
"""

from __future__ import annotations

from detector.knowledge.part import Head

from .entries import Entry  # noqa: TC001 - msgspec reads the annotations at run time


class CatalogueFile(Head, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of interceptors.json. `date` is the day its facts were last reviewed.

    `unnamed` are products whose operator names their CA, so that no certificate can name the product. For maintainers.
    """

    entries: tuple[Entry, ...]
    unnamed: tuple[dict[str, str], ...] = ()
