"""Celery, without a server by default: messages are files in the data folder."""

from functools import cached_property
from pathlib import Path
from typing import Any

from annotator.core.config import Settings

TASK = "annotator.run"
QUEUE = "annotator"


def make_celery(settings: Settings) -> Any:
    """A Celery app for this installation, with the broker that the settings name."""
    from celery import Celery  # noqa: PLC0415 - takes a while, and pages that start no job need none

    app = Celery("annotator")
    app.conf.update(
        broker_url=settings.broker_url or "filesystem://localhost",
        broker_transport_options={} if settings.broker_url else _folders(settings.data / "queue"),
        broker_connection_retry_on_startup=True,
        task_default_queue=QUEUE,
        task_ignore_result=True,
        task_acks_late=False,  # the job's row is the truth; a message is only a wake-up call
        task_serializer="json",
        accept_content=["json"],
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
    )
    return app


def _folders(root: Path) -> dict[str, Any]:
    for name in ("messages", "control"):
        (root / name).mkdir(parents=True, exist_ok=True)
    return {
        "data_folder_in": str(root / "messages"),
        "data_folder_out": str(root / "messages"),
        "control_folder": str(root / "control"),
        "polling_interval": 0.2,  # seconds
    }


class CeleryQueue:
    """Sends wake-up calls."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def _app(self) -> Any:
        return make_celery(self._settings)

    def wake(self, job_id: int) -> None:
        """Wakes a worker for a committed job."""
        self._app.send_task(TASK, args=[job_id], queue=QUEUE, retry=False)
