"""Settings: environment variables ``ANNOTATOR_*``, read once into one frozen object.

Every field is documented in ``docs/guide/settings.md``; a test compares the two.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from annotator.core.errors import InvalidInput

PREFIX = "ANNOTATOR_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that can be set from outside.

    Attributes:
        data: folder of this installation: key ring, blobs, database, queue.
        database_url: SQLAlchemy address; empty means SQLite inside ``data``.
        blobs_url: where sealed blobs lie: a folder or ``s3://bucket/prefix``; empty means a folder
            inside ``data``.
        broker_url: Celery broker; empty means a folder inside ``data``, without a server.
        public_url: the address that people type; ``https`` makes cookies ``Secure``.
        host: address to listen on.
        port: TCP port to listen on.
        trusted_proxy: address of the reverse proxy whose ``X-Forwarded-*`` headers are believed.
        web_threads: requests served at once by one web process.
        passphrase: opens the key ring; empty means its key file does.
        key_file: path of the key file; empty means ``keys/unlock.key`` inside ``data``.
        ledger: path of the erasure ledger; empty means ``keys/erasures.jsonl`` inside ``data``.
        kms_command: command line of the program that has a key management service open the ring.
        max_upload_mb: largest single upload in megabytes (10^6 bytes).
        lease_seconds: how long a task stays with the person who took it.
        session_hours: how long a sign-in lasts without use.
        job_heartbeat_seconds: a running job whose heart was silent for three times this is dead.
        witness: where checkpoints of the log are mirrored: ``file:/path``, ``stdout`` or the
            address of a witness; empty means nowhere.
        witness_key: the verifier key of a witness that signs; empty means that nobody checks it.
        checkpoint_seconds: how often a worker signs the log, if it has grown.
        log_level: name of a ``logging`` level.
    """

    data: Path = Path("data")
    database_url: str = ""
    blobs_url: str = ""
    broker_url: str = ""
    public_url: str = ""
    host: str = "127.0.0.1"
    port: int = 8000
    trusted_proxy: str = ""
    web_threads: int = 8
    passphrase: str = ""
    key_file: str = ""
    ledger: str = ""
    kms_command: str = ""
    max_upload_mb: int = 50
    lease_seconds: int = 900
    session_hours: int = 12
    job_heartbeat_seconds: int = 5
    witness: str = ""
    witness_key: str = ""
    checkpoint_seconds: int = 600
    log_level: str = "INFO"

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Self:
        """Reads the settings.

        Args:
            environ: usually ``os.environ``.

        Raises:
            InvalidInput: a number that is no number or is not positive, or an unknown
                ``ANNOTATOR_`` name (a typing error there would go unnoticed).
        """
        known = {PREFIX + field.name.upper(): field for field in fields(cls)}
        values: dict[str, Any] = {}
        for name, field in known.items():
            text = environ.get(name, "").strip()
            if text:
                values[field.name] = _read(name, text, type(field.default))
        unknown = sorted(
            name
            for name in environ
            if name.startswith(PREFIX)
            and name not in known
            and not name.startswith(f"{PREFIX}TEST_")
        )
        if unknown:
            raise InvalidInput(
                f"The setting {unknown[0]} is not known; see docs/guide/settings.md."
            )
        return cls(**values)

    @property
    def database(self) -> str:
        """The SQLAlchemy address in force."""
        return self.database_url or f"sqlite:///{(self.data / 'annotator.sqlite').absolute()}"

    @property
    def secure(self) -> bool:
        """Whether people reach the app over https."""
        return self.public_url.startswith("https://")


def _read(name: str, text: str, kind: type) -> object:
    if kind is int:
        if not text.isascii() or not text.isdigit() or int(text) == 0:
            raise InvalidInput(
                f"The setting {name} must be a whole number above zero, not '{text}'."
            )
        return int(text)
    if issubclass(kind, Path):
        return Path(text).expanduser()
    return text
