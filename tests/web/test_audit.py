from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from annotator.bootstrap import Toolbox
from annotator.domain import audit

SignIn = Callable[[str], FlaskClient]


def test_the_log_is_read_newest_first_page_by_page(
    sign_in: SignIn, toolbox: Toolbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("annotator.web.audit.PAGE", 2)
    with toolbox.transaction() as session:
        for number in (101, 102, 103):
            audit.append(session, action="thing.done", actor="user-1", thing=number)
    admin = sign_in("admin")
    text = admin.get("/audit?action=thing.done").text
    assert text.index("thing 103") < text.index("thing 102")
    assert "thing 101" not in text
    assert "Any Annotator" in text  # the first person made, by name
    older = admin.get(text.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")).text
    assert "thing 101" in older
    assert "thing 102" not in older


def test_an_action_that_never_happened_is_an_empty_list(sign_in: SignIn) -> None:
    assert "No entry" in sign_in("admin").get("/audit?action=nothing").text


def test_only_admins_read_the_log(sign_in: SignIn) -> None:
    assert sign_in("curator").get("/audit").status_code == 403
