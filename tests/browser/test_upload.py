"""Consent by keyboard, uploads by the drop zone, a lost connection, and the queue of redactions."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import func, select

from annotator.core.db import now
from annotator.domain import accounts, consent, jobs
from annotator.models import ConsentEvent, Dataset, Image, Job, Subject
from tests.browser.conftest import Server
from tests.factories import grey_png, make_dataset, make_subject

pytestmark = pytest.mark.browser

# Drops files of the named sizes on the zone, as a hand would.
DROP = """async ({files}) => {
  const transfer = new DataTransfer();
  for (const [name, base64] of files) {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    transfer.items.add(new File([bytes], name));
  }
  const zone = document.querySelector('[data-part="drop"]');
  for (const kind of ["dragenter", "dragover", "drop"]) {
    const init = {bubbles: true, cancelable: true, dataTransfer: transfer};
    zone.dispatchEvent(new DragEvent(kind, init));
  }
}"""


class Silent:
    """Wakes nobody."""

    def wake(self, job_id: int) -> None:
        pass


@pytest.fixture
def dataset(server: Server) -> Dataset:
    server.tools.queue = Silent()
    with server.tools.transaction() as session:
        dataset = make_dataset(session)
        for role in ("curator", "reviewer"):
            accounts.add_member(session, user=server.hire(session, role), dataset=dataset, by=None)
    return dataset


def encoded(number: int) -> str:
    import base64

    return base64.b64encode(grey_png(number % 256) + number.to_bytes(4, "big")).decode()


def drop(page: Any, files: list[tuple[str, str]]) -> None:
    page.wait_for_selector("form.scripted")
    page.evaluate(DROP, {"files": files})


def add_subject(server: Server, dataset: Dataset, *purposes: str) -> None:
    with server.tools.transaction() as session:
        make_subject(session, server.tools.vault, dataset, purposes, code="P-1")


def test_consent_is_recorded_by_keyboard_alone(
    server: Server,
    dataset: Dataset,
    open_as: Callable[..., Any],
    troubles: list[str],
    keep: Callable[[Any, str], None],
) -> None:
    page = open_as("curator", f"/datasets/{dataset.id}/people/new")
    page.focus("#code")
    page.keyboard.type("P-7")
    for _ in range(5):  # over name, contact, group and the folded minors to the first purpose
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.value") == "store"
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    for _ in range(6):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "expression"
    page.keyboard.press("ArrowDown")
    keep(page, "consent")
    page.keyboard.press("Enter")
    page.wait_for_url("**/subjects/*")
    keep(page, "person")
    with server.tools.sessions() as session:
        subject = session.scalars(select(Subject)).one()
        assert subject.code == "P-7"
        assert set(consent.given_purposes(session, subject=subject)) == {"store", "label"}
        assert set(session.scalars(select(ConsentEvent.expression))) == {"paper"}
    assert troubles == []


def test_dropped_files_are_taken_in_and_each_refused_one_says_why(
    server: Server,
    dataset: Dataset,
    open_as: Callable[..., Any],
    troubles: list[str],
    keep: Callable[[Any, str], None],
) -> None:
    add_subject(server, dataset, "store")
    page = open_as("curator", f"/datasets/{dataset.id}/upload")
    page.fill("#subject", "P-1")
    files = [(f"{number}.png", encoded(number)) for number in range(40)]
    drop(page, [*files, ("empty.jpg", ""), ("notes.jpg", "anVzdCB3b3Jkcw==")])
    page.wait_for_selector("text=40 of 42 received · 2 refused")
    page.wait_for_selector("text=See what came of them")
    page.check("#problems")
    shown = page.locator('[data-part="files"] li:visible')
    assert shown.count() == 2
    assert "The file is empty." in shown.nth(0).inner_text()
    assert "a text file" in shown.nth(1).inner_text()
    keep(page, "uploaded")
    with server.tools.sessions() as session:
        assert session.scalar(select(func.count(Image.id))) == 40
        wanted = [
            image for job in session.scalars(select(Job)) for image in job.arguments["images"]
        ]
        assert sorted(wanted) == sorted(session.scalars(select(Image.id)))
        assert session.scalar(select(func.count(Job.id))) == 1  # a job that waits takes more along
    assert troubles == []


def test_five_hundred_files_survive_a_lost_connection(
    server: Server, dataset: Dataset, open_as: Callable[..., Any]
) -> None:
    add_subject(server, dataset, "store")
    page = open_as("curator", f"/datasets/{dataset.id}/upload?person=P-1")
    lost = []

    def lose_some(route: Any) -> None:
        if len(lost) < 3 and route.request.method == "POST":
            lost.append(route.request.url)
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route("**/upload", lose_some)
    drop(page, [(f"{number}.png", encoded(number)) for number in range(500)])
    page.wait_for_selector("text=500 of 500 received", timeout=120_000)
    assert len(lost) == 3
    with server.tools.sessions() as session:
        assert session.scalar(select(func.count(Image.id))) == 500


def test_a_missing_consent_stops_the_upload_and_says_what_to_do(
    server: Server, dataset: Dataset, open_as: Callable[..., Any]
) -> None:
    add_subject(server, dataset, "label")
    page = open_as("curator", f"/datasets/{dataset.id}/upload?person=P-1")
    drop(page, [(f"{number}.png", encoded(number)) for number in range(20)])
    page.wait_for_selector("text=record their consent on their page first")
    with server.tools.transaction() as session:
        subject = session.scalars(select(Subject)).one()
        consent.record_consent(
            session,
            subject=subject,
            purposes=["store"],
            notice=consent.current_notice(session, dataset=dataset),
            expression="verbal",
            expires_at=now().replace(year=now().year + 1),
        )
    assert (
        page.get_by_role("link", name="Open their page")
        .get_attribute("href")
        .endswith(f"/datasets/{dataset.id}/people?text=P-1")
    )
    page.click("text=Try again")
    page.wait_for_selector("text=20 of 20 received")


def test_waiting_pictures_are_decided_by_keys_and_by_a_drawn_box(
    server: Server,
    dataset: Dataset,
    open_as: Callable[..., Any],
    troubles: list[str],
    keep: Callable[[Any, str], None],
) -> None:
    add_subject(server, dataset, "store")
    add_waiting(server, 3)
    page = open_as("reviewer", f"/datasets/{dataset.id}/redactions")
    assert page.title().startswith("(3)")
    keep(page, "waiting")
    page.keyboard.press("2")
    page.wait_for_url("**image=2")
    area = page.locator('[data-part="scene"]').bounding_box()
    left, top = area["x"] + area["width"] * 0.55, area["y"] + area["height"] * 0.55
    page.mouse.move(left, top)
    page.mouse.down()
    page.mouse.move(left + 60, top + 60, steps=4)
    page.mouse.up()
    assert page.locator("#keep-box").is_checked()
    keep(page, "drawn")
    page.keyboard.press("Enter")
    page.wait_for_url("**image=3")
    page.keyboard.press("r")
    page.keyboard.press("r")
    page.wait_for_selector("text=Nothing waits")
    with server.tools.sessions() as session:
        states = dict(session.execute(select(Image.id, Image.state)).all())
        assert states == {1: "approved", 2: "approved", 3: "rejected"}
        first, second = (job.arguments for job in session.scalars(select(Job).order_by(Job.id)))
        assert first["keep"] == 1
        x, y, width, height = second["box"]
        assert (width, height) == pytest.approx((width, width), rel=0.05)
        assert 0 < x < 200
        assert 0 < y < 100
    assert troubles == []


def test_keys_that_come_before_the_script_are_not_lost(
    server: Server, dataset: Dataset, open_as: Callable[..., Any]
) -> None:
    add_subject(server, dataset, "store")
    add_waiting(server, 2)
    page = open_as("reviewer", f"/datasets/{dataset.id}/redactions")

    def later(route: Any) -> None:
        page.keyboard.press("r")  # while the script is on its way
        page.keyboard.press("r")
        route.continue_()

    page.route("**/redactions/review.js*", later)
    page.reload()
    page.wait_for_url("**image=2")
    with server.tools.sessions() as session:
        assert session.get_one(Image, 1).state == "rejected"


def add_waiting(server: Server, number: int) -> None:
    vault = server.tools.vault
    with server.tools.transaction() as session:
        subject = session.scalars(select(Subject)).one()
        for at in range(number):
            blob = vault.seal_blob(
                subject=subject.uid,
                key=consent.key_of(vault, subject),
                kind="sanitised",
                data=grey_png(90),
            )
            boxes = [[20, 20, 30, 40], [100, 20, 30, 40]]
            session.add(
                Image(
                    uid=f"{at:032}",
                    dataset_id=subject.dataset_id,
                    subject_id=subject.id,
                    state="review",
                    fingerprint=bytes([at]) * 32,
                    width=200,
                    height=100,
                    detections=[{"box": box, "landmarks": [], "score": 0.9} for box in boxes],
                    original_blob=blob,
                )
            )


def test_the_page_follows_the_worker(
    server: Server, dataset: Dataset, open_as: Callable[..., Any]
) -> None:
    add_subject(server, dataset, "store")
    page = open_as("curator", f"/datasets/{dataset.id}/upload?person=P-1")
    drop(page, [("1.png", encoded(1))])
    page.wait_for_selector("text=waiting for a worker")
    with server.tools.transaction() as session:
        job = session.scalars(select(Job)).one()
        assert jobs.claim(session, job_id=job.id) is not None
        jobs.beat(session, job_id=job.id, done=1, total=1)
        jobs.finish(session, job_id=job.id)
    page.wait_for_selector("text=1 of 1 received")
    page.wait_for_selector('[data-part="work-figures"]:has-text("1 of 1")')
