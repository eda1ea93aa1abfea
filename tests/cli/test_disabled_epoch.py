"""Somebody withdraws while an epoch's keys are disabled: nothing is lost, and it is made good."""

from sqlalchemy import select, update

from annotator.cli import main
from annotator.domain import erasure
from annotator.models import AuditSalt, Erasure, Job
from annotator.worker import run_job, sweep_jobs
from tests.cli.house import House, opens, people


def switch(word: str, epoch: int) -> None:
    assert main(["keys", word, str(epoch), *(["--yes"] if word == "disable" else [])]) == 0


def try_again(house: House) -> Job:
    """What the sweeper does when a withdrawal's pause is over."""
    tools = house.tools()
    with tools.transaction() as session:
        session.execute(update(Erasure).values(retry_at=None))
    for job in sweep_jobs(tools):
        run_job(tools, job)
    with tools.sessions() as session:
        query = select(Job).where(Job.kind == "erase").order_by(Job.id.desc()).limit(1)
        return session.scalars(query).one()


def test_a_withdrawal_waits_for_a_disabled_epoch(house: House) -> None:
    tools = house.tools()
    with tools.transaction() as session:
        erasure.withdraw_subject(session, subject=people(session)[0], by=None)
    switch("disable", 1)
    for _ in range(3):
        job = try_again(house)
        assert job.state == "failed"
        assert "keys enable" in (job.error or "")
    assert tools.vault.epochs == (1,)  # no epoch more for every attempt
    with tools.sessions() as session:
        (seen,) = erasure.list_withdrawals(session)
        assert (seen.step, seen.attempts) == ("epoch", 3)
        assert people(session)[0].wrapped_key is None
    assert [opens(tools, number) for number in range(3)] == [False, False, False]
    switch("enable", 1)
    assert [opens(tools, number) for number in range(3)] == [False, True, True]
    assert try_again(house).state == "done"
    assert tools.vault.epochs == (2,)
    assert [opens(tools, number) for number in range(3)] == [False, True, True]


def test_a_disabled_epoch_keeps_nobody_from_withdrawing(house: House) -> None:
    tools = house.tools()
    switch("disable", 1)
    with tools.transaction() as session:
        erasure.withdraw_subject(session, subject=people(session)[0], by=None)
    with tools.sessions() as session:
        assert people(session)[0].wrapped_key is None
        assert session.get(AuditSalt, people(session)[0].id) is None


def test_a_disabled_epoch_that_holds_nobody_is_destroyed_with_the_others(house: House) -> None:
    tools = house.tools()
    with tools.transaction() as session:
        list(tools.vault.rotate([]))
        keys = [
            (who, tools.vault.restore_key(who.wrapped_key, who.key_epoch, who.key_version))
            for who in people(session)
        ]
        for who, key in keys:
            moved = tools.vault.rewrap(who.uid, key)
            who.wrapped_key, who.key_epoch = moved.wrapped, moved.epoch
    switch("disable", 1)
    house.withdraw(0)
    assert tools.vault.epochs == (3,)
    assert [opens(tools, number) for number in range(3)] == [False, True, True]
