"""Temporary until access is merged."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

from litestar.exceptions import PermissionDeniedException

if TYPE_CHECKING:
    from litestar.connection import ASGIConnection
    from litestar.handlers import BaseRouteHandler


class Permission(enum.StrEnum):
    """What a route needs."""

    PUBLIC = "public"
    SUBMIT = "submit"
    OPERATE = "operate"


async def authorize(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Refuse what has no permission that is open to all."""
    _ = connection
    if handler.opt.get("permission") not in {Permission.PUBLIC, Permission.SUBMIT}:
        raise PermissionDeniedException
