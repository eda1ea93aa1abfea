"""Reading JSON that somebody sent, with one clear sentence when it is not what was asked for."""

from typing import Any, TypeVar, cast

from flask import request

from annotator.core.errors import InvalidInput

T = TypeVar("T")
_WORDS: dict[type, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}
_MISSING: Any = object()


def payload() -> dict[str, Any]:
    """The JSON object that was sent.

    Raises:
        InvalidInput: no JSON, or not an object.
    """
    return cast("dict[str, Any]", _json(dict))


def payload_list() -> list[dict[str, Any]]:
    """The JSON list of objects that was sent.

    Raises:
        InvalidInput: no JSON, or not a list of objects.
    """
    items = _json(list)
    if not all(isinstance(item, dict) for item in items):
        raise InvalidInput("Send a JSON list of objects.")
    return cast("list[dict[str, Any]]", items)


def take(body: dict[str, Any], name: str, kind: type[T], default: T | None = _MISSING) -> T:
    """One value of an object.

    Args:
        body: the object.
        name: the value's name.
        kind: ``str``, ``int``, ``float``, ``bool``, ``list`` or ``dict``.
        default: what a missing value or null means; without one it must be there.

    Raises:
        InvalidInput: it is missing, or of another kind.
    """
    value = body.get(name)
    if value is None and default is not _MISSING:
        return cast("T", default)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return cast("T", float(value))
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise InvalidInput(f"'{name}' must be {_WORDS[kind]}.")
    return value


def cursor() -> int:
    """Where a page of a list begins: behind this id (``?after=``)."""
    return _whole("after", default=0, least=0, most=2**62)


def page_size(default: int = 50) -> int:
    """How many items a page of a list has (``?limit=``), 1 to 200."""
    return _whole("limit", default=default, least=1, most=200)


def _whole(name: str, *, default: int, least: int, most: int) -> int:
    text = request.args.get(name, str(default))
    if not (text.isascii() and text.isdigit()) or not least <= int(text) <= most:
        raise InvalidInput(f"'{name}' must be a whole number from {least} to {most}.")
    return int(text)


def _json(kind: type) -> Any:
    sent = request.get_json(silent=True)
    if not isinstance(sent, kind):
        raise InvalidInput(f"Send {_WORDS[kind]} as JSON, with Content-Type application/json.")
    return sent
