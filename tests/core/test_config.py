from pathlib import Path

import pytest

from annotator.core.config import Settings
from annotator.core.errors import InvalidInput


def test_defaults_need_no_environment() -> None:
    settings = Settings.load({})
    assert settings.port == 8000
    assert settings.database.startswith("sqlite:///")
    assert not settings.secure


def test_values_are_read_with_their_types() -> None:
    settings = Settings.load(
        {
            "ANNOTATOR_DATA": "/srv/x",
            "ANNOTATOR_PORT": " 9000 ",
            "ANNOTATOR_PUBLIC_URL": "https://a",
        }
    )
    assert settings.data == Path("/srv/x")
    assert settings.port == 9000
    assert settings.secure


@pytest.mark.parametrize("text", ["0", "-1", "many", "8.5", "٣"])
def test_a_number_that_is_none_is_one_sentence(text: str) -> None:
    with pytest.raises(InvalidInput, match="ANNOTATOR_PORT must be a whole number"):
        Settings.load({"ANNOTATOR_PORT": text})


def test_a_typing_error_is_found() -> None:
    with pytest.raises(InvalidInput, match="ANNOTATOR_DATABASE is not known"):
        Settings.load({"ANNOTATOR_DATABASE": "x"})


def test_names_of_the_tests_are_passed_over() -> None:
    assert Settings.load({"ANNOTATOR_TEST_DATA": "x"}) == Settings()
