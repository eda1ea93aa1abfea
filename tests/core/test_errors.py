from collections.abc import Iterator

from annotator.core import errors
from annotator.core.errors import AnnotatorError


def every_error(root: type[AnnotatorError] = AnnotatorError) -> Iterator[type[AnnotatorError]]:
    yield root
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from every_error(child)


def test_codes_are_stable_and_distinct() -> None:
    codes = [error.code for error in every_error()]
    assert len(codes) == len(set(codes))


def test_every_error_has_a_sentence_and_a_status() -> None:
    for error in every_error():
        assert error.title.endswith(".")
        assert 400 <= error.status <= 599


def test_the_default_sentence_stands_in() -> None:
    assert errors.NotFound().message == errors.NotFound.title
    assert str(errors.NotFound("No cat.")) == "No cat."
