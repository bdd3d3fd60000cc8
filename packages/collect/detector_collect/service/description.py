"""The OpenAPI description of what clients use (docs/collect-openapi.json).

Room: detector_collect.service. Pure: it makes an application and serves nothing.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from litestar import Litestar
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIResponse, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIType

from detector.version import VERSION
from detector_collect.submissions import ANSWERS

from . import problems
from .ingest import ENVELOPE_TYPE, REPORT_TYPE

_TEXT: Final = Schema(type=OpenAPIType.STRING)
_SIGNATURE: Final = Schema(
    type=OpenAPIType.OBJECT, required=["keyid", "sig"], properties={"keyid": _TEXT, "sig": _TEXT}
)
_ENVELOPE: Final = Schema(
    type=OpenAPIType.OBJECT,
    required=["payload", "payloadType", "signatures"],
    properties={
        "payload": _TEXT,
        "payloadType": _TEXT,
        "signatures": Schema(type=OpenAPIType.ARRAY, items=_SIGNATURE, min_items=1, max_items=1),
    },
)
_PROBLEM: Final = Schema(
    type=OpenAPIType.OBJECT,
    required=["type", "title", "status"],
    properties={"type": _TEXT, "title": _TEXT, "status": Schema(type=OpenAPIType.INTEGER), "detail": _TEXT},
)


def _content(media_type: str, schema: Schema) -> dict[str, OpenAPIMediaType]:
    return {media_type: OpenAPIMediaType(schema=schema)}


@dataclasses.dataclass
class SubmitOperation(Operation):
    """Adds what Litestar cannot read from a handler that reads its body itself: the body, and every answer."""

    def __post_init__(self) -> None:
        """Set body and answers."""
        self.request_body = RequestBody(
            {**_content(ENVELOPE_TYPE, _ENVELOPE), **_content(REPORT_TYPE, Schema(type=OpenAPIType.OBJECT))},
            description="A signed submission; or a report of a pin failure, with ?kind= and a client certificate.",
            required=True,
        )
        receipt = _content(ENVELOPE_TYPE, _ENVELOPE)
        self.responses = {
            "201": OpenAPIResponse("It is new and stored: the signed receipt.", content=receipt),
            "200": OpenAPIResponse("It was known: the same receipt.", content=receipt),
        }
        for status in sorted({answer.status for answer in ANSWERS.values()}):
            names = ", ".join(refusal for refusal, answer in ANSWERS.items() if answer.status == status)
            self.responses[str(int(status))] = OpenAPIResponse(
                f"Refused: {names}.", content=_content(problems.MEDIA_TYPE, _PROBLEM)
            )


def openapi(handlers: list[Any]) -> dict[str, Any]:
    """The description of these handlers."""
    config = OpenAPIConfig(title="detector-collect", version=VERSION, use_handler_docstrings=True)
    return Litestar(handlers, openapi_config=config, logging_config=None).openapi_schema.to_schema()
