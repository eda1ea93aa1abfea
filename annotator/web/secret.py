"""The key that signs CSRF tokens; it must outlive a restart, or open pages could not be sent."""

import os
import secrets
from pathlib import Path

_NAME = "web.key"
_BYTES = 32


def read_secret(data: Path) -> str:
    """Reads the web's secret from the data folder, which gets one at the first start.

    Args:
        data: the installation's folder; several web processes that share it share the secret.
    """
    path = data / _NAME
    if not path.exists():
        _create(path)
    return path.read_text(encoding="ascii").strip()


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{_NAME}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(_BYTES))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)  # unlike a rename this never replaces what another process wrote
    except FileExistsError:
        pass
    finally:
        draft.unlink()
