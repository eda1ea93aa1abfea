"""Pictures in, training sets out."""

from collections.abc import Sequence
from pathlib import Path

import click

from annotator.bootstrap import Toolbox
from annotator.cli.tools import Meter, answer, finish_job, open_tools, tell
from annotator.core.errors import InvalidInput
from annotator.domain import datasets, exports, imports, intake, jobs, verification
from annotator.models import BALANCES, TIERS, Dataset, Image, Job

BATCH = 16  # pictures per transaction; people who vote meanwhile wait for one
PER_JOB = 1000
file_option = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("import")
@click.argument("dataset")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--subjects", type=file_option, help="CSV of people and consents, with 'file'.")
@click.option("--votes", type=file_option, help="CSV of votes that the faces already have.")
@click.option("--cropped", is_flag=True, help="Each picture is a face crop already.")
@click.option("--dry-run", is_flag=True, help="Only says what would be refused and why.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def import_(
    dataset: str,
    path: Path,
    *,
    subjects: Path | None,
    votes: Path | None,
    cropped: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Imports a folder or ZIP of pictures into DATASET; twice is once.

    A picture belongs to the person named by the folder that it lies in, or by the CSV of people.
    """
    tools = open_tools()
    source = imports.Source(path)
    with tools.sessions() as session:
        target = datasets.find_dataset(session, name=dataset)
        plan = imports.plan_import(
            session,
            dataset=target,
            source=source,
            subjects=subjects.read_bytes() if subjects else None,
            votes=votes.read_bytes() if votes else None,
        )
    if not plan.pictures and not plan.refused:
        raise InvalidInput(f"There are no JPEG, PNG or WebP pictures in '{path}'.")
    taken, refused = ([], []) if dry_run else _receive(tools, target.id, source, plan, cropped)
    states = _process(tools, target.id, [image.id for _, image in taken]) if taken else {}
    votes_given = _record_votes(tools, target.id, taken)
    for item in (*plan.refused, *refused):
        tell(f"Refused {item.name}: {item.reason}")
    failed = _tell_failures(tools, [image.id for _, image in taken]) if states else 0
    summary = {
        "dry_run": dry_run,
        "pictures": len(plan.pictures) if dry_run else len(taken),
        "people": len(plan.people),
        "votes": votes_given,
        "refused": len(plan.refused) + len(refused) + failed,
        "states": states,
    }
    answer(summary, as_json=as_json, text=_say(summary))
    return 1 if summary["refused"] and not (taken or dry_run) else 0


@click.command()
@click.argument("dataset")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--tier", type=click.Choice(TIERS), default="T1", show_default=True)
@click.option("--format", "format_", default="folder", show_default=True)
@click.option("--balance", type=click.Choice(BALANCES), default="none", show_default=True)
@click.option("--seed", type=int, help="Of splits and balance; the dataset's when omitted.")
@click.option("--min-votes", type=int, help="Faces with so many votes may go; else all wanted.")
@click.option("--recipient", default="this machine", show_default=True, help="Who gets it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def export(
    dataset: str,
    out: Path,
    *,
    tier: str,
    format_: str,
    balance: str,
    seed: int | None,
    min_votes: int | None,
    recipient: str,
    as_json: bool,
) -> None:
    """Writes a signed training set of DATASET into the new folder OUT."""
    tools = open_tools()
    exports.check_place(out)
    with tools.transaction() as session:
        target = datasets.find_dataset(session, name=dataset)
        row = exports.request_export(
            session,
            dataset=target,
            recipient=recipient,
            by=None,
            wish=exports.Wish(tier, format_, balance, seed, min_votes),
        )
        export_id, job_id = row.id, row.job_id
    assert job_id is not None
    finish_job(tools, job_id, "Exporting")
    with tools.transaction() as session:
        row = exports.get_export(session, export_id=export_id)
        exports.write_export(session, vault=tools.vault, export=row, out=out)
        result = {"id": row.id, "out": str(out), "manifest": row.manifest_digest, **row.counts}
    answer(result, as_json=as_json, text=f"Export {export_id} is in {out}.")


@click.command()
@click.argument("export", type=click.Path(exists=True, path_type=Path))
@click.option("--key", type=file_option, help="Public key (PEM); the export's own when omitted.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def verify(export: Path, key: Path | None, as_json: bool) -> int:
    """Checks the signature and every file of EXPORT (folder or ZIP) with the public key alone."""
    public_key = key.read_bytes() if key else None
    report = verification.verify_export(export, public_key=public_key)
    result = {
        "ok": report.ok,
        "message": report.message,
        "fingerprint": report.fingerprint,
        "trusted": report.trusted,
        "files": report.files,
    }
    answer(result, as_json=as_json, text=f"Key {report.fingerprint}" if report.ok else "")
    tell(report.message)
    return 0 if report.ok else 1


def _receive(
    tools: Toolbox, dataset_id: int, source: imports.Source, plan: imports.Plan, cropped: bool
) -> tuple[list[tuple[imports.Planned, Image]], list[imports.Refused]]:
    taken: list[tuple[imports.Planned, Image]] = []
    refused: list[imports.Refused] = []
    people = Meter("Recording consents")
    for start in range(0, len(plan.people), BATCH):
        with tools.transaction() as session:
            imports.record_people(
                session,
                vault=tools.vault,
                dataset=session.get_one(Dataset, dataset_id),
                rows=plan.people[start : start + BATCH],
            )
        people.show(min(start + BATCH, len(plan.people)), len(plan.people))
    meter = Meter("Sealing pictures")
    for start in range(0, len(plan.pictures), BATCH):
        with tools.transaction() as session:
            got, bad = imports.receive_pictures(
                session,
                vault=tools.vault,
                imaging=tools.imaging,
                dataset=session.get_one(Dataset, dataset_id),
                source=source,
                pictures=plan.pictures[start : start + BATCH],
                cropped=cropped,
            )
        taken += got
        refused += bad
        meter.show(min(start + BATCH, len(plan.pictures)), len(plan.pictures))
    return taken, refused


def _process(tools: Toolbox, dataset_id: int, images: Sequence[int]) -> dict[str, int]:
    states: dict[str, int] = {}
    for start in range(0, len(images), PER_JOB):
        with tools.transaction() as session:
            job = intake.start_received(
                session,
                dataset=session.get_one(Dataset, dataset_id),
                images=list(images[start : start + PER_JOB]),
            )
            job_id = job.id if job else None
        if job_id is not None:
            result = finish_job(tools, job_id, "Looking for faces")
            states = {key: states.get(key, 0) + result.get(key, 0) for key in {*states, *result}}
    with tools.sessions() as session:
        waiting = [job.id for job in jobs.list_jobs(session) if _opens_tasks(job, dataset_id)]
    for job_id in reversed(waiting):
        finish_job(tools, job_id, "Opening tasks")
    return states


def _opens_tasks(job: Job, dataset_id: int) -> bool:
    return job.kind == "tasks" and job.dataset_id == dataset_id and job.state not in jobs.ENDED


def _record_votes(
    tools: Toolbox, dataset_id: int, taken: Sequence[tuple[imports.Planned, Image]]
) -> int:
    voted = [(image.id, picture.votes) for picture, image in taken if picture.votes]
    meter, count = Meter("Recording votes"), 0
    for start in range(0, len(voted), BATCH * 4):
        with tools.transaction() as session:
            count += imports.record_votes(
                session,
                dataset=session.get_one(Dataset, dataset_id),
                votes=voted[start : start + BATCH * 4],
            )
        meter.show(min(start + BATCH * 4, len(voted)), len(voted))
    return count


def _tell_failures(tools: Toolbox, images: Sequence[int]) -> int:
    with tools.sessions() as session:
        failed = imports.list_failed(session, images=images)
        names = intake.open_names(session, vault=tools.vault, images=failed)
        for image in failed:
            tell(f"Refused {names.get(image.id) or image.id}: {image.error}")
    return len(failed)


def _say(summary: dict[str, object]) -> str:
    verb = "would be imported" if summary["dry_run"] else "are in"
    return (
        f"{summary['pictures']} pictures {verb}, {summary['people']} new people, "
        f"{summary['votes']} votes; {summary['refused']} refused."
    )


COMMANDS = (import_, export, verify)
