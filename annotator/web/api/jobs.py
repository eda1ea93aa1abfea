"""Jobs: how far they are."""

from typing import Any

from flask import Blueprint

from annotator.models import JOB_STATES
from annotator.web.api.openapi import INTEGER, STRING, nullable, operation, thing
from annotator.web.jobs import visible_job
from annotator.web.security import requires

blueprint = Blueprint("jobs", __name__)
JOB = thing(
    {
        "id": INTEGER,
        "kind": STRING,
        "state": {"type": "string", "enum": list(JOB_STATES)},
        "done": INTEGER,
        "total": nullable(INTEGER),
        "error": nullable(STRING),
    },
    {"result": nullable({"type": "object"})},
)


@blueprint.get("/jobs/<int:job_id>")
@operation("One job: its state, and how far it is.", answer=JOB)
@requires("annotator")
def show(job_id: int) -> dict[str, Any]:
    """Reads a job."""
    job = visible_job(job_id)
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state,
        "done": job.done,
        "total": job.total,
        "error": job.error,
        "result": job.result,
    }
