"""The one place where tools are chosen; heavy ones are opened on first use.

Nothing imported at the top of this package loads TensorFlow, scikit-learn, OpenCV or NumPy: the
web process lives without them.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TypedDict, cast

from sqlalchemy import Engine, event
from sqlalchemy.orm import Session, sessionmaker

from annotator.bootstrap.imaging import LazyImaging
from annotator.bootstrap.learning import LazyLearning
from annotator.bootstrap.queue import CeleryQueue
from annotator.bootstrap.witness import open_witness
from annotator.core.config import Settings
from annotator.core.db import GAP_SECONDS, open_engine
from annotator.core.errors import AnnotatorError
from annotator.core.secrecy import forbid_dumps
from annotator.domain import audit, ports
from annotator.vault import LEDGER_NAME, Ledger, Vault, open_vault

log = logging.getLogger(__name__)
KEYS = "keys"  # the vault's folder below the data folder
KEY_FILE = Path(KEYS, "unlock.key")
BLOBS = "blobs"


class WaysIn(TypedDict):
    """What opens the key ring, as ``annotator.vault`` takes it."""

    passphrase: str | None
    kms: str | None
    key_file: Path | None


class Toolbox:
    """Everything that domain code needs, chosen by the settings.

    Args:
        settings: read once, by the door.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.data = settings.data

    @cached_property
    def engine(self) -> Engine:
        """The database."""
        return open_engine(self.settings.database)

    @cached_property
    def sessions(self) -> sessionmaker[Session]:
        """Makes sessions.

        When a session commits, workers are woken for the jobs that it wrote down, and the blobs
        that nothing points to any more are deleted.
        """
        info = {audit.VAULT: lambda: self.vault}  # the log names people through it
        maker = sessionmaker(self.engine, expire_on_commit=False, info=info)
        event.listen(maker, "after_commit", self._after_commit)
        event.listen(maker, "after_rollback", _forget)
        return maker

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """One transaction that writes; committed when the block ends well."""
        with self.sessions() as session:
            session.connection(execution_options={"writing": True})
            yield session
            session.commit()
        if self.engine.dialect.name == "sqlite":
            time.sleep(GAP_SECONDS)

    @cached_property
    def vault(self) -> ports.Vault:
        """The vault of this installation, unlocked by the ways in that the settings name."""
        forbid_dumps()  # from here on this process holds keys
        vault = open_vault(self.data, blobs=self.blobs, **self.ways_in)
        # The vault's keys are the ports' keys: the class and the protocol say the same.
        return cast("ports.Vault", vault)

    @cached_property
    def ledger(self) -> ports.Ledger:
        """Who was erased; kept apart from what is backed up."""
        return Ledger(self.ledger_file, seals=cast("Vault", self.vault))

    @property
    def ledger_file(self) -> Path:
        """Where the erasure ledger is."""
        return Path(self.settings.ledger or self.data / KEYS / LEDGER_NAME)

    @property
    def broken(self) -> bool:
        """Whether an fsync of the vault failed in this process; it must be started again."""
        return "vault" in self.__dict__ and self.vault.broken

    @property
    def blobs(self) -> str | Path:
        """Where sealed blobs lie: a folder, or the address of an object store."""
        return self.settings.blobs_url or self.data / BLOBS

    @property
    def ways_in(self) -> WaysIn:
        """What opens the key ring: passphrase and KMS command, or without them the key file."""
        passphrase = self.settings.passphrase or None
        kms = self.settings.kms_command or None
        key_file = None if passphrase or kms else self.key_file
        return {"passphrase": passphrase, "kms": kms, "key_file": key_file}

    @property
    def key_file(self) -> Path:
        """Where the key file is that unlocks the vault."""
        return Path(self.settings.key_file) if self.settings.key_file else self.data / KEY_FILE

    @cached_property
    def imaging(self) -> ports.Imaging:
        """Pixels."""
        return LazyImaging()

    @cached_property
    def learning(self) -> ports.Learning:
        """Models."""
        return LazyLearning(self.imaging)

    @cached_property
    def witness(self) -> ports.Witness | None:
        """Where the log's checkpoints are mirrored."""
        return open_witness(self.settings)

    @cached_property
    def queue(self) -> ports.Queue:
        """Wakes workers."""
        return CeleryQueue(self.settings)

    def _after_commit(self, session: Session) -> None:
        for job_id in session.info.pop("jobs", []):
            try:
                self.queue.wake(job_id)
            except Exception:  # the row is committed: the sweeper wakes a worker for it later
                log.exception("no worker could be woken for job %d", job_id)
        for blob in session.info.pop("dead_blobs", []):
            try:
                self.vault.delete_blob(blob)
            except AnnotatorError:  # nothing points to it any more: `sweep` will find it
                log.exception("a blob could not be deleted")


def _forget(session: Session) -> None:
    session.info.pop("jobs", None)
    session.info.pop("dead_blobs", None)
