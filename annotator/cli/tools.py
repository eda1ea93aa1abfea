"""What every command needs: the tools, one way to talk, and jobs that run or are followed."""

import json
import os
import sys
import time
from typing import Any

import click

from annotator.bootstrap import Toolbox
from annotator.core import log, migrate
from annotator.core.config import Settings
from annotator.core.errors import AnnotatorError, Conflict, InvalidInput
from annotator.domain import jobs
from annotator.worker import run_job

POLL_SECONDS = 0.3
DRAW_SECONDS = 0.2


class JobFailed(AnnotatorError):
    """A job ended without its result; the message is the job's own sentence."""

    code = "job_failed"
    title = "The job failed."


def open_settings() -> Settings:
    """The settings of the environment; logging follows them."""
    settings = Settings.load(os.environ)
    log.configure(settings.log_level)
    return settings


def open_tools() -> Toolbox:
    """The tools of a finished installation, its tables brought up to date.

    Raises:
        InvalidInput: there is no installation in the data folder.
    """
    tools = Toolbox(open_settings())
    if not (tools.data / "keys").is_dir():
        raise InvalidInput(
            f"There is no installation in '{tools.data}'; make one with `init`, or look around "
            "with `demo`."
        )
    migrate.upgrade(tools.engine)
    return tools


def tell(sentence: str) -> None:
    """Talks to a person, on stderr."""
    click.echo(sentence, err=True)


def answer(value: Any, *, as_json: bool, text: str = "") -> None:
    """Gives the command's result, on stdout: one JSON object a line, or a sentence."""
    if as_json:
        click.echo(json.dumps(value, ensure_ascii=False))
    elif text:
        click.echo(text)


class Meter:
    """Progress on one line of a terminal, with rate and remaining time; silent elsewhere."""

    def __init__(self, what: str) -> None:
        self._what, self._started, self._drawn = what, time.monotonic(), 0.0
        self._shown = sys.stderr.isatty()

    def show(self, done: int, total: int | None) -> None:
        """Draws, but not too often."""
        if not self._shown or not total:
            return
        moment = time.monotonic()
        if done < total and moment - self._drawn < DRAW_SECONDS:
            return
        self._drawn = moment
        rate = done / max(moment - self._started, 1e-9)
        left = f", {(total - done) / rate:.0f} s left" if 0 < done < total else ""
        line = f"{self._what}: {done:,} of {total:,} ({rate:,.0f}/s{left})"
        click.echo(f"\r\x1b[2K{line}", err=True, nl=done >= total)


def finish_job(tools: Toolbox, job_id: int, what: str) -> dict[str, Any]:
    """Runs a job here, or follows it when a worker was faster.

    Raises:
        JobFailed: it failed; the sentence is the job's.
        Conflict: it was cancelled.
    """
    meter = Meter(what)
    if not run_job(tools, job_id, on_report=meter.show):
        _follow(tools, job_id, meter)
    with tools.sessions() as session:
        job = jobs.get_job(session, job_id=job_id)
        if job.state == "cancelled":
            raise Conflict("The job was cancelled.")
        if job.state != "done":
            raise JobFailed(job.error)
        return job.result or {}


def _follow(tools: Toolbox, job_id: int, meter: Meter) -> None:
    while True:
        with tools.sessions() as session:
            job = jobs.get_job(session, job_id=job_id)
            if job.state in jobs.ENDED:
                return
            meter.show(job.done, job.total)
        time.sleep(POLL_SECONDS)
