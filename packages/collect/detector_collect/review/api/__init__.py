"""What the vendor's own programs read: JSON under `/api/v1/`, with tokens, behind the same guard as the pages.

Room: detector_collect.review.api. Handlers read through `queries`, and write nothing.

A token sees no more than the person who answers for it, and only what its scopes are for. There is no raw evidence
here: that leaves through an export alone. Lists are read in pages; `next` is the address of the next one.
"""

from __future__ import annotations

from .routes import router

__all__ = ["router"]
