from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from annotator.core.errors import InvalidInput
from annotator.web.api.payload import cursor, page_size, payload, payload_list, take


@pytest.fixture
def plain() -> Flask:
    return Flask(__name__)


def sent(app: Flask, read: Callable[[], Any], **request: Any) -> Any:
    with app.test_request_context(**request):
        return read()


def test_an_object_is_read(plain: Flask) -> None:
    assert sent(plain, payload, method="POST", json={"n": 1}) == {"n": 1}


@pytest.mark.parametrize(
    "request_", [{"data": b"{"}, {"json": [1]}, {"data": b"{}", "content_type": "text/plain"}, {}]
)
def test_anything_else_is_refused_with_a_sentence(plain: Flask, request_: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="Send an object as JSON"):
        sent(plain, payload, method="POST", **request_)


def test_a_list_holds_objects(plain: Flask) -> None:
    assert sent(plain, payload_list, method="POST", json=[{}]) == [{}]
    with pytest.raises(InvalidInput, match="list of objects"):
        sent(plain, payload_list, method="POST", json=[1])


@pytest.mark.parametrize(
    ("body", "kind", "sentence"),
    [
        ({}, int, "'n' must be a whole number."),
        ({"n": "1"}, int, "'n' must be a whole number."),
        ({"n": True}, int, "'n' must be a whole number."),
        ({"n": 1}, str, "'n' must be a text."),
        ({"n": None}, float, "'n' must be a number."),
    ],
)
def test_a_value_of_the_wrong_kind(body: dict[str, Any], kind: type, sentence: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        take(body, "n", kind)
    assert caught.value.message == sentence


def test_values_and_defaults() -> None:
    assert take({"n": 3}, "n", int) == 3
    assert take({"n": 3}, "n", float) == 3.0
    assert take({}, "n", int, default=20) == 20
    assert take({"n": None}, "n", int, default=20) == 20


def test_cursor_and_page_size(plain: Flask) -> None:
    assert sent(plain, cursor, query_string={"after": "7"}) == 7
    assert sent(plain, page_size) == 50
    for wrong in ("-1", "x", "201", "0"):
        with pytest.raises(InvalidInput, match="from 1 to 200"):
            sent(plain, page_size, query_string={"limit": wrong})
