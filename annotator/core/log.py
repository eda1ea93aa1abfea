"""Logging: one line an event, to stderr, never with personal data, keys or pixels."""

import logging


def configure(level: str) -> None:
    """Sets the process's logging up.

    Args:
        level: name of a ``logging`` level.
    """
    logging.basicConfig(
        level=level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s", force=True
    )
    for talkative in ("aiobotocore", "alembic", "botocore", "celery", "kombu", "waitress.queue"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
