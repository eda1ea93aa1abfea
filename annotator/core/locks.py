"""Locks between processes, for work that must not be done twice at once.

Each ends with the process that holds it, whatever happens to it.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, func, select

from annotator.core.errors import Conflict


@contextmanager
def alone(engine: Engine, name: str) -> Iterator[None]:
    """Does the block alone among all processes of the installation.

    PostgreSQL keeps the lock for many machines; SQLite has one, so that a file beside it serves.

    Args:
        engine: the installation's database.
        name: what is done, one word.

    Raises:
        Conflict: somebody else is doing it.
    """
    if engine.dialect.name == "postgresql":
        with _by_server(engine, name):
            yield
    elif engine.url.database:
        with _by_file(f"{engine.url.database}-{name}.lock", name):
            yield
    else:
        yield


@contextmanager
def _by_server(engine: Engine, name: str) -> Iterator[None]:
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
    # Without a transaction: one that stays open for hours would keep PostgreSQL from cleaning up.
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not connection.scalar(select(func.pg_try_advisory_lock(number))):
            raise _taken(name)
        try:
            yield
        finally:
            connection.execute(select(func.pg_advisory_unlock(number)))


@contextmanager
def _by_file(path: str, name: str) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _taken(name) from error
        yield
    finally:
        os.close(descriptor)


def _taken(name: str) -> Conflict:
    return Conflict(f"Another {name} is running already; wait until it has ended.")
