"""The evidence on a phone and on a wide screen, light and dark, by keyboard alone."""

from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from annotator.domain import audit
from tests.factories import make_dataset, make_subject

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("look", [(320, "dark"), (2560, "light")])
def test_an_admin_reads_and_signs_the_log(
    server: Any,
    open_as: Callable[..., Any],
    troubles: list[str],
    keep: Callable[[Any, str], None],
    look: tuple[int, str],
) -> None:
    width, scheme = look
    with server.tools.transaction() as session:
        server.hire(session, "admin")
        make_subject(session, server.tools.vault, make_dataset(session))
    audit.mirror_log(server.tools.transaction, tools=server.tools)
    page = open_as("admin", "/audit", viewport={"width": width, "height": 800}, color_scheme=scheme)
    keep(page, f"audit-{width}-{scheme}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]})
    assert found.response["violations"] == []
    with page.expect_download() as download:
        page.get_by_role("link", name="Checkpoint").press("Enter")
    assert download.value.suggested_filename.startswith("checkpoint-")
    page.get_by_role("button", name="Sign now").press("Enter")
    page.get_by_text("Signing the log").wait_for()
    assert troubles == []
