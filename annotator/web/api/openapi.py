"""The description of the API, put together from what its views declare about themselves."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from flask import Flask
from werkzeug.routing import Rule

from annotator import __version__
from annotator.core.emotions import EMOTION_NAMES, LABEL_NAMES
from annotator.web.security import access_of

Schema = dict[str, Any]
P = ParamSpec("P")
R = TypeVar("R")

INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
STRING: Schema = {"type": "string"}
BOOLEAN: Schema = {"type": "boolean"}
EMOTION: Schema = {"type": "string", "enum": list(EMOTION_NAMES)}
LABEL: Schema = {"type": "string", "enum": list(LABEL_NAMES)}

PROBLEM: Schema = {
    "type": "object",
    "properties": {
        name: INTEGER if name == "status" else STRING
        for name in ("type", "title", "status", "detail", "code", "request_id")
    },
    "required": ["type", "title", "status", "detail", "code"],
}
_ARGUMENT = re.compile(r"<(?:[^:<>]+:)?([^<>]+)>")
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def thing(required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    """The schema of an object."""
    properties = {**required, **(optional or {})}
    return {"type": "object", "properties": properties, "required": list(required)}


def many(schema: Schema) -> Schema:
    """The schema of a list."""
    return {"type": "array", "items": schema}


def paged(schema: Schema) -> Schema:
    """The schema of one page of a list; ``next`` is the cursor of the page behind it."""
    return thing({"items": many(schema), "next": {"type": ["integer", "null"]}})


def nullable(schema: Schema) -> Schema:
    """The schema of something that may be missing."""
    return {"anyOf": [schema, {"type": "null"}]}


@dataclass(frozen=True, slots=True)
class Operation:
    """What a view says about itself.

    Attributes:
        summary: one sentence.
        body: schema of the JSON that it takes, if any.
        form: schema of the multipart form that it takes, if any.
        query: schemas of its query parameters by name, all optional.
        answer: schema of the JSON that it gives, if any.
        content: media type of the answer when it is not JSON.
        status: HTTP status when it goes well.
    """

    summary: str
    body: Schema | None = None
    form: Schema | None = None
    query: dict[str, Schema] | None = None
    answer: Schema | None = None
    content: str | None = None
    status: int = 200


def operation(summary: str, **details: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Describes a view of the API; every one needs it, a test sees to that.

    Args:
        summary: one sentence.
        details: the other attributes of ``Operation``.
    """
    described = Operation(summary=summary, **details)

    def attach(view: Callable[P, R]) -> Callable[P, R]:
        view.__operation__ = described  # type: ignore[attr-defined]
        return view

    return attach


def operation_of(app: Flask, endpoint: str) -> Operation | None:
    """What a view said about itself, or ``None``."""
    return getattr(app.view_functions[endpoint], "__operation__", None)


def assemble(app: Flask) -> dict[str, Any]:
    """Writes the OpenAPI 3.1 document of every described endpoint."""
    paths: dict[str, dict[str, Any]] = {}
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        described = operation_of(app, rule.endpoint)
        if described is None:
            continue
        path = _ARGUMENT.sub(r"{\1}", rule.rule)
        for method in _METHODS:
            if method in (rule.methods or ()):
                paths.setdefault(path, {})[method.lower()] = _describe(app, rule, described)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Annotator", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": {"Problem": PROBLEM},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _describe(app: Flask, rule: Rule, described: Operation) -> dict[str, Any]:
    access = access_of(app, rule.endpoint)
    role = access.role if access else None
    result: dict[str, Any] = {
        "operationId": rule.endpoint.removeprefix("api.").replace(".", "_"),
        "summary": described.summary,
        "parameters": [*_path_parameters(rule), *_query_parameters(described)],
        "responses": {
            str(described.status): _answer(described),
            "default": {
                "description": "A problem (RFC 9457).",
                "content": {
                    "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
                },
            },
        },
        "security": [{"token": []}] if role else [],
    }
    if role:
        result["description"] = f"Needs the role {role}."
    content = {"application/json": described.body, "multipart/form-data": described.form}
    taken = {kind: {"schema": schema} for kind, schema in content.items() if schema}
    if taken:
        result["requestBody"] = {"required": True, "content": taken}
    return result


def _path_parameters(rule: Rule) -> list[dict[str, Any]]:
    # The rule's own converters say which arguments are whole numbers.
    converters = rule._converters  # noqa: SLF001 - werkzeug has no public way to ask
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": INTEGER if type(converters[name]).__name__ == "IntegerConverter" else STRING,
        }
        for name in sorted(rule.arguments)
    ]


def _query_parameters(described: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in (described.query or {}).items()
    ]


def _answer(described: Operation) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": "Done."}
    if described.content:
        answer["content"] = {described.content: {}}
    elif described.answer:
        answer["content"] = {"application/json": {"schema": described.answer}}
    return answer
