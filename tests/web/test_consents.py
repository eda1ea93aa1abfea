import datetime as dt
import re
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from annotator.bootstrap import Toolbox
from annotator.core.db import now
from annotator.domain import consent
from annotator.models import Dataset
from annotator.web.statements import PURPOSE_WORDS
from tests.factories import make_subject

SignIn = Callable[[str], FlaskClient]
MakeDataset = Callable[..., Dataset]


@pytest.fixture
def dataset(make_dataset: MakeDataset, toolbox: Toolbox) -> Dataset:
    dataset = make_dataset("curator")
    with toolbox.transaction() as session:
        consent.create_notice(session, dataset=dataset, text="We keep pictures of you.")
    return dataset


def add(toolbox: Toolbox, dataset: Dataset, code: str, days: int) -> None:
    with toolbox.transaction() as session:
        subject = consent.create_subject(session, vault=toolbox.vault, dataset=dataset, code=code)
        consent.record_consent(
            session,
            subject=subject,
            purposes=["store", "label"],
            notice=consent.current_notice(session, dataset=dataset),
            expression="ticked",
            expires_at=now() + dt.timedelta(days=days),
        )


def test_an_empty_dataset_says_what_to_do(sign_in: SignIn, dataset: Dataset) -> None:
    assert "No consent yet" in sign_in("curator").get(f"/datasets/{dataset.id}/consents").text


def test_what_ends_soon_is_shown_with_how_soon(
    sign_in: SignIn, dataset: Dataset, toolbox: Toolbox
) -> None:
    for code, days in (("LATER", 200), ("SOON", 60), ("NOW", 10)):
        add(toolbox, dataset, code, days)
    text = sign_in("curator").get(f"/datasets/{dataset.id}/consents").text
    months = text.split("People who allow each use")[-1].split("</table>")[0]
    heads = re.findall(r"<th[^>]*>([^<]+)</th>", months.split("</thead>")[0])
    assert heads == ["On", *(words[0] for words in PURPOSE_WORDS.values())]
    newest = re.findall(r'<td class="number">([^<]+)</td>', months.split("<tr>")[-1])
    assert newest == ["3", "3", "0", "0", "0", "0", "0"]
    table = text.split('id="soon"')[1].split('id="due"')[0]
    assert table.index("NOW") < table.index("within 30 days") < table.index("SOON")
    assert "within 90 days" in table
    assert "LATER" not in table
    assert "Keep: 0 people then, 3 now" in text
    assert text.count("<polyline") == 7


def test_the_list_filters_by_state(sign_in: SignIn, dataset: Dataset, toolbox: Toolbox) -> None:
    add(toolbox, dataset, "LONG", 200)
    add(toolbox, dataset, "SHORT", 10)
    with toolbox.transaction() as session:
        make_subject(session, toolbox.vault, dataset, ["label"], code="NOTHING")
        make_subject(session, toolbox.vault, dataset, code="GONE").withdrawn_at = now()
    curator, address = sign_in("curator"), f"/datasets/{dataset.id}/people"
    codes = {"LONG", "SHORT", "NOTHING", "GONE"}
    for state, code in (
        ("consents", "LONG"),
        ("ends soon", "SHORT"),
        ("no consent", "NOTHING"),
        ("withdrawn", "GONE"),
    ):
        text = curator.get(f"{address}?state={state}").text
        assert {each for each in codes if each in text} == {code}, state
    assert curator.get(f"{address}?state=happy").status_code == 422
    assert "Nobody found" in curator.get(f"{address}?state=withdrawn&text=LONG").text


def test_an_admin_sets_how_long_pictures_are_kept(
    sign_in: SignIn, dataset: Dataset, session: Session
) -> None:
    address = f"/datasets/{dataset.id}/consents/retention"
    new = {"retention_days": "300", "grace_days": "5"}
    assert sign_in("curator").post(address, data=new).status_code == 403
    admin = sign_in("admin")
    assert admin.post(address, data=new).status_code == 303
    found = session.get_one(Dataset, dataset.id)
    assert (found.retention_days, found.grace_days) == (300, 5)
    for bad in ({"retention_days": "x"}, {"retention_days": "0"}, {"grace_days": "366"}):
        assert admin.post(address, data={**new, **bad}).status_code == 422
    assert admin.post(address, data={**new, "retention_days": ""}).status_code == 303
    session.rollback()
    session.expire_all()
    assert session.get_one(Dataset, dataset.id).retention_days is None
