"""The service's OpenAPI: Litestar's part (the addresses that are read), and the raw handlers' from their own types.

The schemas of collect and decide are made from the structs in bodies.py. ``/schema`` shows it all on a page of its own
that loads nothing from elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import msgspec

from footfall import __version__
from footfall.app.http import bodies

PROBLEM_SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "way_out": {"type": "string", "description": "What to do about it."},
    },
}
_REF = "#/components/schemas/{name}"


def describe(handlers: list[Any]) -> dict[str, Any]:
    """OpenAPI 3.1 of the whole service. handlers: Litestar's, those that are read."""
    told = _read_part(handlers)
    operations, components = _raw_part()
    told["paths"] = dict(sorted({**told["paths"], **operations}.items()))
    schemas = told.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(components)
    schemas["Problem"] = PROBLEM_SCHEMA
    told["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "A key of `footfall keys create`."},
        "basic": {"type": "http", "scheme": "basic", "description": "The key as user name, no password."},
    }
    told["security"] = [{"bearer": []}, {"basic": []}]
    for path, methods in told["paths"].items():
        for operation in methods.values():
            _finish(operation, path)
    return told


def _read_part(handlers: list[Any]) -> dict[str, Any]:
    from litestar import Litestar
    from litestar.openapi import OpenAPIConfig

    config = OpenAPIConfig(
        title="Footfall",
        version=__version__,
        description="Collect events, decide where each visitor goes, read values and plans.",
    )
    app = Litestar(handlers, openapi_config=config, logging_config=None)
    return dict(app.openapi_schema.to_schema())


def _raw_part() -> tuple[dict[str, Any], dict[str, Any]]:
    """Paths and component schemas of the handlers that Litestar does not see."""
    types = [kind for call in bodies.CALLS for kind in (call.request, call.response) if kind is not None]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    by_type = dict(zip(types, schemas, strict=True))
    paths = {}
    for call in bodies.CALLS:
        body: dict[str, Any] = {"schema": by_type[call.request] if call.request is not None else {"type": "string"}}
        if call.example is not None:
            body["example"] = call.example
        paths[call.path] = {
            "post": {
                "tags": [call.tag],
                "operationId": call.path.strip("/").replace("/", "_"),
                "summary": call.summary,
                "description": call.description,
                "requestBody": {"required": True, "content": {call.media: body}},
                "responses": {
                    "200": {
                        "description": call.answer,
                        "content": {"application/json": {"schema": by_type[call.response]}},
                    }
                },
            }
        }
    return paths, components


def _finish(operation: dict[str, Any], path: str) -> None:
    """The refusals that every address has, and no key where none is asked for."""
    responses = operation["responses"]
    responses.pop("400", None)  # Litestar's own form of it, which ours replaces
    told = {"application/problem+json": {"schema": {"$ref": _REF.format(name="Problem")}}}
    responses["4XX"] = {"description": "Refused; the body says why and what to do.", "content": told}
    if path in ("/healthz", "/readyz"):
        operation["security"] = []
    health = path == "/readyz"
    content = {"application/json": {"schema": {"$ref": _REF.format(name="Health")}}} if health else told
    responses["503"] = {"description": "It cannot be done now; try again after Retry-After.", "content": content}


VIEWER = (Path(__file__).parent / "schema.html").read_text(encoding="utf-8")


def _hash(text: str, tag: str) -> str:
    inside = text.split(f"<{tag}>", 1)[1].split(f"</{tag}>", 1)[0]
    return base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()


POLICY = (
    f"default-src 'none'; connect-src 'self'; script-src 'sha256-{_hash(VIEWER, 'script')}'; "
    f"style-src 'sha256-{_hash(VIEWER, 'style')}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
