"""The pages of the review room, made on the server, without any script.

Room: detector_collect.review.pages. Handlers read through `queries`, write through `case_log` and `access`, and render
the templates of this package; each names the permission that the guard checks.
"""

from __future__ import annotations

from typing import Final

from litestar import MediaType, Response, Router, get

from detector_collect.review.access.permissions import Permission

from . import case, errors, evidence, institution, overview, own, staff
from .rendering import STYLE, STYLE_PATH, compile_templates

__all__ = ["router"]

STYLE_SECONDS: Final = 86_400
"""How long a browser keeps the style sheet, whose address changes with its content: a day."""


@get(STYLE_PATH, opt={"permission": Permission.PUBLIC})
async def style() -> Response[str]:
    """The style sheet of every page."""
    return Response(STYLE, media_type=MediaType.CSS, headers={"Cache-Control": f"public, max-age={STYLE_SECONDS}"})


def router() -> Router:
    """Every page, with pages for errors. Compiles their templates."""
    compile_templates()
    return Router(
        "/",
        route_handlers=[
            style,
            overview.overview,
            institution.show,
            case.open_case,
            case.show,
            case.take_step,
            evidence.listing,
            evidence.show,
            evidence.show_names,
            evidence.dossier,
            staff.audit,
            staff.grants,
            staff.change_grants,
            own.own,
        ],
        exception_handlers=errors.HANDLERS,
    )
