"""The admin's pages of consent: at every width, light and dark, by keyboard, checked by axe."""

import dataclasses
import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from annotator.core.db import now
from annotator.domain import consent
from annotator.models import PURPOSES, Dataset, Installation, Subject
from tests.browser.conftest import Server
from tests.factories import make_dataset, make_model, make_subject

pytestmark = pytest.mark.browser

WIDTHS = (320, 360, 1366)
FACTS = consent.fill_notice(organisation="Clinic, Street 1", contact="p@example.org", years=3)
SHOTS = os.environ.get("ANNOTATOR_TEST_SHOTS")  # a folder, to look at the pages by eye


@pytest.fixture
def dataset(server: Server) -> Dataset:
    with server.tools.transaction() as session:
        session.add(Installation(install="test", context="research"))
        server.hire(session, "admin")
        return make_dataset(session)


def fill(server: Server, dataset: Dataset) -> Subject:
    """People in every state, a renewal that is due, a minor, and a model."""
    with server.tools.transaction() as session:
        vault = server.tools.vault
        consent.publish_notice(session, dataset=dataset, texts={"en": FACTS})
        for number in range(4):
            make_subject(session, vault, dataset, PURPOSES, code=f"P-{number}")
        minor = consent.create_subject(
            session,
            vault=vault,
            dataset=dataset,
            code="M-1",
            name="Any Minor",
            guardian_name="Any Parent",
            majority_at=now() + dt.timedelta(days=20),
        )
        consent.record_consent(
            session,
            subject=minor,
            purposes=["store", "label"],
            notice=consent.current_notice(session, dataset=dataset),
            expression="paper",
            expires_at=now() + dt.timedelta(days=300),
            statement=consent.Statement(
                party="guardian", assent="given", name="Any Parent", scan=b"%PDF-1.7"
            ),
            vault=vault,
        )
        changed = dataclasses.replace(FACTS, recipients="The University of X.")
        german = dataclasses.replace(
            consent.starter("de"),
            controller="Klinik",
            contact="p@example.org",
            retention="Drei Jahre.",
            complaint="Bei der Behörde.",
        )
        consent.publish_notice(session, dataset=dataset, texts={"en": changed, "de": german})
        make_model(session)
        return minor


def look(page: Any, name: str) -> None:
    """No sideways scrolling at any width, and nothing that axe finds."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        over = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert over <= 0, (name, width, over)
        if SHOTS:
            page.screenshot(path=str(Path(SHOTS) / f"{name}-{width}.png"), full_page=True)
    found = Axe().run(page)
    assert found.violations_count == 0, (name, found.generate_report())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_readable_empty_and_full(
    server: Server,
    dataset: Dataset,
    open_as: Callable[..., Any],
    troubles: list[str],
    scheme: str,
) -> None:
    pages = {
        "notices": f"/datasets/{dataset.id}/notices",
        "notice-new": f"/datasets/{dataset.id}/notices/new",
        "consents": f"/datasets/{dataset.id}/consents",
        "people": f"/datasets/{dataset.id}/people",
        "person-new": f"/datasets/{dataset.id}/people/new",
        "processing": "/accountability/processing",
        "impact": "/accountability/impact",
    }
    page = open_as("admin", pages["consents"], color_scheme=scheme)
    look(page, f"{scheme}-empty-consents")
    minor = fill(server, dataset)
    for name, address in {**pages, "person": f"/subjects/{minor.id}"}.items():
        page.goto(address)
        look(page, f"{scheme}-{name}")
    assert troubles == []


def test_a_notice_is_written_by_keyboard_with_a_live_preview(
    server: Server, dataset: Dataset, open_as: Callable[..., Any], troubles: list[str]
) -> None:
    page = open_as(
        "admin",
        f"/datasets/{dataset.id}/notices/new?locale=en",
        viewport={"width": 1366, "height": 800},
    )
    page.wait_for_selector('[data-part="update"][hidden]', state="attached")
    for name, text in (
        ("controller", "Clinic, Street 1"),
        ("contact", "p@example.org"),
        ("retention", "Three years."),
        ("complaint", "The authority."),
    ):
        page.focus(f'[name="en-{name}"]')
        page.keyboard.press("ControlOrMeta+a")
        page.keyboard.type(text)
    preview = page.locator('[data-part="preview"]')
    preview.locator(".notice-text", has_text="Clinic, Street 1").wait_for()
    preview.get_by_text("Complete").wait_for()
    assert preview.bounding_box()["y"] < 800  # in sight beside the field that was typed in last
    page.focus('[name="en-contact"]')
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.press("Delete")
    preview.get_by_text("Still missing").wait_for()
    page.keyboard.type("p@example.org")
    page.get_by_role("button", name="Put this version in force").focus()
    page.keyboard.press("Enter")
    page.get_by_text("is in force.").wait_for()
    assert troubles == []


def test_a_paper_is_scanned_recorded_and_opened(
    server: Server, dataset: Dataset, open_as: Callable[..., Any], troubles: list[str]
) -> None:
    with server.tools.transaction() as session:
        consent.publish_notice(session, dataset=dataset, texts={"en": FACTS})
    page = open_as("admin", f"/datasets/{dataset.id}/people/new")
    page.fill('[name="code"]', "P-9")
    page.check('[name="purposes"][value="store"]')
    page.check('[name="expression"][value="paper"]')
    page.get_by_text("Evidence: the signed paper").click()
    paper = {"name": "a.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.7 signed"}
    page.set_input_files('[name="scan"]', files=[paper])
    page.get_by_role("button", name="Record person and consent").click()
    page.get_by_text("P-9 is recorded").wait_for()
    page.get_by_role("button", name="Open the evidence").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the paper").click()
    assert Path(download.value.path()).read_bytes() == b"%PDF-1.7 signed"
    assert troubles == []
