"""The review room: what staff see of the evidence, who may see what, and what goes out to others.

Room: detector_collect.review. Reads and writes through `detector_collect.store`; assesses nothing.
"""

from __future__ import annotations

from litestar import Router

from . import api
from .access import signing_in
from .exports.routes import router as exports
from .pages import errors, router


def routes() -> Router:
    """Every route of the review room. The application needs `access.authorize.AccessPlugin`, which guards them."""
    signing = Router("/", route_handlers=[signing_in.router()], exception_handlers=errors.HANDLERS)
    return Router("/", route_handlers=[router(), exports(), api.router(), signing, errors.missing])
