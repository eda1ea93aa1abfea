"""The person's own way, by keyboard alone on a phone: consent, camera, their page, withdrawal.

axe-core looks at every page, in light and in dark; the browser's console stays silent, so nothing
breaks the content security policy.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rdflib
from axe_playwright_python.sync_playwright import Axe
from sqlalchemy import select

from annotator.core.errors import KeyDestroyed
from annotator.domain import consent, erasure, invitations
from annotator.models import Dataset, Image, Job, Subject
from annotator.vault import create_vault
from annotator.worker import run_job
from tests.browser.conftest import CHROMIUM, Server
from tests.factories import make_dataset, make_face, make_subject

pytestmark = pytest.mark.browser
PHONE = {"width": 360, "height": 740}
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
MOST_TABS = 60
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
DPV = rdflib.Namespace("https://w3id.org/dpv#")


@pytest.fixture
def browser() -> Iterator[Any]:
    """A browser whose camera shows a test picture and is allowed without a question."""
    if not CHROMIUM.exists():
        pytest.skip(f"no Chromium at {CHROMIUM}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", *CAMERA]
        )
        yield chromium
        chromium.close()


class Hand:
    """Somebody who has a keyboard and nothing else.

    Args:
        page: an open page.
        troubles: collects what the browser complains of.
    """

    def __init__(self, page: Any, troubles: list[str]) -> None:
        self.page, self.troubles = page, troubles
        page.on(
            "console",
            lambda said: troubles.append(said.text) if said.type in {"error", "warning"} else None,
        )
        page.on("pageerror", lambda error: troubles.append(str(error)))

    def reach(self, selector: str) -> None:
        """Tabs until the focus is there."""
        for _ in range(MOST_TABS):
            if self.page.evaluate("s => document.activeElement?.matches(s) ?? false", selector):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"the keyboard does not reach {selector}")

    def press(self, selector: str, key: str = "Enter") -> None:
        """Goes there and presses a key."""
        self.reach(selector)
        self.page.keyboard.press(key)

    def type(self, selector: str, text: str) -> None:
        """Goes there and types."""
        self.reach(selector)
        self.page.keyboard.type(text)

    def judge(self) -> None:
        """axe-core finds nothing, in light and in dark, and nothing sticks out sideways."""
        for scheme, rules in (("light", RULES), ("dark", COLOURS)):
            self.page.emulate_media(color_scheme=scheme)
            found = Axe().run(self.page, options=rules).response["violations"]
            told = [(each["id"], [node["html"] for node in each["nodes"]]) for each in found]
            assert told == [], (scheme, self.page.url)
        self.page.emulate_media(color_scheme="light")
        wide = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, self.page.url


@pytest.fixture
def hand(browser: Any, server: Server, troubles: list[str]) -> Iterator[Hand]:
    context = browser.new_context(base_url=server.address, viewport=PHONE, locale="en-GB")
    yield Hand(context.new_page(), troubles)
    context.close()


@pytest.fixture
def dataset(server: Server) -> Dataset:
    with server.tools.transaction() as session:
        dataset = make_dataset(session)
        text = "Wir behalten Bilder von Ihnen."
        consent.create_notice(session, dataset=dataset, text=text, locale="de")
    return dataset


def invite(server: Server, dataset: Dataset, code: str = "P-1") -> str:
    with server.tools.transaction() as session:
        vault = server.tools.vault
        person = consent.create_subject(session, vault=vault, dataset=dataset, code=code)
        made = invitations.create_invitation(session, vault=vault, subject=person)
    return f"/consent/{made[1]}"


def test_consent_and_camera_by_keyboard_alone(
    server: Server, dataset: Dataset, hand: Hand, keep: Any
) -> None:
    page = hand.page
    page.goto(invite(server, dataset))
    hand.judge()
    keep(page, "ask")
    hand.press("#purpose-store", "Space")
    hand.press("#purpose-train", "Space")
    hand.press("#age-adult", "Space")
    hand.type("#name", "Ada Stone")
    hand.press("form .button.primary")
    page.wait_for_selector("svg.qr")
    hand.judge()
    keep(page, "keep")
    hand.press('a[href$="/camera"]')
    page.wait_for_selector('[data-part="on"]')
    hand.judge()
    hand.press('[data-part="on"]')
    page.wait_for_selector('[data-part="take"]:focus')
    hand.press('[data-part="take"]')
    page.wait_for_selector(".shots li:nth-child(1)")
    hand.press('[data-part="next"]')
    hand.press('[data-part="later"]')
    page.wait_for_selector(".shots li:nth-child(2)")
    keep(page, "camera")
    hand.judge()
    with server.tools.sessions() as session:
        assert session.scalars(select(Image)).all() == []  # nothing has left the device yet
    hand.press('.shots li:nth-child(1) [data-part="delete"]')
    page.wait_for_selector(".shots li:nth-child(2)", state="detached")
    hand.press('[data-part="send"]')
    page.wait_for_selector('[data-part="sent"]:visible')
    assert page.evaluate("document.querySelector('video').srcObject") is None
    hand.judge()
    with server.tools.sessions() as session:
        image = session.scalars(select(Image)).one()
        assert image.subject.code == "P-1"
        assert session.scalars(select(Job.kind)).all() == ["intake"]
    hand.press('[data-part="sent"] a')
    page.wait_for_selector("text=We hold one picture of you")
    hand.judge()
    keep(page, "own")
    assert hand.troubles == []


def test_consent_withdrawn_meanwhile_is_said_and_nothing_is_kept(
    server: Server, dataset: Dataset, hand: Hand
) -> None:
    me = own_page(server, dataset)
    page = hand.page
    page.goto(f"{me}/camera")
    hand.press('[data-part="on"]')
    page.wait_for_selector('[data-part="take"]:focus')
    hand.press('[data-part="take"]')
    page.wait_for_selector(".shots li")
    with server.tools.transaction() as session:
        person = session.scalars(select(Subject)).one()
        erasure.withdraw_subject(session, subject=person, by=None)
    hand.press('[data-part="send"]')
    page.wait_for_selector("text=Your consent was withdrawn or has ended meanwhile.")
    assert page.locator(".shots li").count() == 0
    with server.tools.sessions() as session:
        assert session.scalars(select(Image)).all() == []


def test_the_connection_breaks_and_the_pictures_stay(
    server: Server, dataset: Dataset, hand: Hand
) -> None:
    page = hand.page
    page.goto(f"{own_page(server, dataset)}/camera")
    hand.press('[data-part="on"]')
    page.wait_for_selector('[data-part="take"]:focus')
    hand.press('[data-part="take"]')
    page.wait_for_selector(".shots li")
    lost = {"left": 1}

    def break_once(route: Any) -> None:
        if route.request.method == "POST" and lost["left"]:
            lost["left"] -= 1
            route.abort()
        else:
            route.continue_()

    page.route("**/camera", break_once)
    hand.press('[data-part="send"]')
    page.wait_for_selector('[data-part="sent"]:visible')
    with server.tools.sessions() as session:
        assert len(session.scalars(select(Image)).all()) == 1


def own_page(server: Server, dataset: Dataset, faces: int = 0) -> str:
    with server.tools.transaction() as session:
        vault = server.tools.vault
        person = make_subject(session, vault, dataset, code="P-1", name="Ada Stone")
        for _ in range(faces):
            make_face(session, vault, person)
        made = invitations.create_invitation(session, vault=vault, subject=person, kind="own")
    return f"/me/{made[1]}"


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph")  # rdflib's own parser makes one
def test_withdrawal_in_german_by_keyboard_alone_destroys_the_key(
    server: Server, dataset: Dataset, hand: Hand, keep: Any, tmp_path: Path
) -> None:
    vault: Any = create_vault(tmp_path, key_file=tmp_path / "unlock.key")[0]
    server.tools.vault = vault
    me, page = own_page(server, dataset, faces=2), hand.page
    stolen = steal_name(server)
    assert vault.open_field(**stolen) == "Ada Stone"
    page.goto(me)
    hand.press('a[hreflang="de"]')
    page.wait_for_selector("text=Wir haben 2 Bilder von Ihnen")
    hand.judge()
    keep(page, "own")
    hand.press('form[action$="/look"] button')
    page.wait_for_selector(".pictures img")
    hand.judge()
    page.go_back()
    hand.press('a[href$="/receipt"]')
    page.wait_for_selector("text=Ihre Quittung")
    hand.judge()
    keep(page, "receipt")
    page.go_back()
    with page.expect_download() as saved:
        hand.press('a[href$="record.jsonld"]')
    record = Path(saved.value.path()).read_text(encoding="utf-8")
    graph = rdflib.Graph().parse(data=record, format="json-ld")
    assert list(graph.subjects(rdflib.RDF.type, DPV.ConsentRecord))
    assert len(list(graph.subjects(rdflib.RDF.type, DPV.ConsentGiven))) == 7
    hand.press(".ending a")
    page.wait_for_selector("text=Das passiert sofort")
    hand.judge()
    keep(page, "confirm")
    hand.press(".danger.final")
    page.wait_for_selector("text=Ihr Schlüssel ist vernichtet")
    hand.judge()
    with page.expect_download() as saved:
        hand.press('a[download="erasure-receipt.json"]')
    assert json.loads(Path(saved.value.path()).read_text())["kind"] == "erasure"
    with server.tools.sessions() as session:
        waiting = session.scalars(select(Job.id)).all()
    assert [run_job(server.tools, number) for number in waiting] == [True]
    with pytest.raises(KeyDestroyed):
        vault.open_field(**stolen)
    page.goto(me)
    page.wait_for_selector("text=Von Ihnen ist nichts mehr da")
    hand.judge()
    assert hand.troubles == []


def steal_name(server: Server) -> dict[str, Any]:
    """A sealed name with its wrapped key, as they would be in a copy made before a withdrawal."""
    with server.tools.sessions() as session:
        person = session.scalars(select(Subject)).one()
        return {
            "subject": person.uid,
            "key": consent.key_of(server.tools.vault, person),
            "table": "subjects",
            "column": "sealed_name",
            "row": person.uid,
            "sealed": person.sealed_name,
        }


def test_axe_finds_nothing_on_the_other_pages(
    server: Server, dataset: Dataset, hand: Hand, open_as: Callable[..., Any]
) -> None:
    me, ask, page = own_page(server, dataset), invite(server, dataset, "P-2"), hand.page
    page.goto(ask)
    page.click("#age-minor")
    page.click("form .button.primary")  # nothing is filled in: every error at once
    assert page.locator(".error").count() >= 6
    hand.judge()
    for path in (f"{me}/renew", f"{me}/withdraw?purpose=label"):
        page.goto(path)
        hand.judge()
    with server.tools.transaction() as session:
        member = server.hire(session, "admin")
        assert member.role == "admin"
    staff = Hand(open_as("admin", f"/datasets/{dataset.id}/people/invite"), hand.troubles)
    staff.page.set_viewport_size(PHONE)
    staff.judge()
    staff.press("form .button.primary")
    staff.page.wait_for_selector("svg.qr")
    staff.judge()
    staff.press('a[href$="/links"].button')
    staff.page.wait_for_selector("table")
    staff.judge()
    told = [each for each in hand.troubles if "422" not in each]  # the refused form's own answer
    assert told == []
    page.goto("/me/wrong")
    hand.judge()


@pytest.mark.parametrize("tongue", ["en", "de"])
def test_a_use_is_taken_back_and_allowed_again_by_keyboard_alone(
    server: Server, dataset: Dataset, hand: Hand, keep: Any, tongue: str
) -> None:
    page = hand.page
    me = own_page(server, dataset)
    page.goto(f"{me}?lang={tongue}")
    hand.press('a[href*="withdraw?purpose=train"]')
    page.wait_for_selector('input[name="purpose"][value="train"]', state="attached")
    hand.press("form .button.final")
    page.wait_for_selector('a[href*="allow?purpose=train"]')
    hand.judge()
    keep(page, f"taken back {tongue}")
    hand.press('a[href*="allow?purpose=train"]')
    page.wait_for_selector("#agreed")
    hand.judge()
    keep(page, f"allow {tongue}")
    hand.press("#agreed", "Space")
    hand.type("#name", "Ada Stone")
    hand.press("form .button.primary")
    page.wait_for_selector('a[href*="withdraw?purpose=train"]')
    with server.tools.sessions() as session:
        subject = session.scalars(select(Subject)).one()
        event = consent.given_purposes(session, subject=subject)["train"]
        assert event.statement is not None
        assert event.statement.locale == tongue
    assert hand.troubles == []
