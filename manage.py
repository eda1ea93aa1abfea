#!/usr/bin/env python3
"""The one command: makes the environment when it is missing, then runs Annotator in it.

    python3 manage.py demo     a throw-away installation, opened on http://127.0.0.1:8000
    python3 manage.py test     the tests
    python3 manage.py --help   everything else

Needs Python 3.11 to 3.13 and nothing else. Packages come from the hash-pinned lock files.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
OLDEST, NEWEST = (3, 11), (3, 13)
DEVELOPERS = ("test", "check")  # commands that need the developers' packages too
MARK = ".annotator-lock"


def main() -> int:
    """Runs a command in the environment; returns its exit code."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        return refuse(
            "Annotator needs Python 3.11 to 3.13; this is "
            f"{sys.version_info.major}.{sys.version_info.minor} ({sys.executable})."
        )
    wanted = "requirements-dev.lock" if sys.argv[1:2] and sys.argv[1] in DEVELOPERS else ""
    if os.environ.get("ANNOTATOR_BOOTSTRAPPED") != "1" and not has_packages(wanted):
        return run_in_environment(wanted or "requirements.lock")
    os.environ.pop("ANNOTATOR_BOOTSTRAPPED", None)
    sys.path.insert(0, str(ROOT))
    from annotator.cli import main as run  # noqa: PLC0415 - only here are the packages there

    return run()


def has_packages(lock: str) -> bool:
    """Whether this very Python has what the command needs (a venv, a container, an install)."""
    folder = Path(sys.prefix)
    if folder == ROOT / ".venv":
        return is_current(folder, lock or "requirements.lock")
    if sys.prefix == sys.base_prefix or lock:
        return False
    from importlib.util import find_spec  # noqa: PLC0415 - rarely needed

    return all(find_spec(name) for name in ("flask", "celery", "tensorflow", "cv2", "sklearn"))


def run_in_environment(lock: str) -> int:
    """Makes ``.venv`` when it is missing or old, and runs this command again in it."""
    folder = ROOT / ".venv"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not is_current(folder, lock):
        try:
            make_environment(folder, python, lock)
        except subprocess.CalledProcessError as error:
            return refuse(
                f"pip could not install the packages (code {error.returncode}); see above."
            )
        except OSError as error:
            return refuse(f"The environment could not be made: {error.strerror}.")
    command = [str(python), str(ROOT / "manage.py"), *sys.argv[1:]]
    environ = os.environ | {"ANNOTATOR_BOOTSTRAPPED": "1"}
    if os.name == "nt":
        return subprocess.call(command, env=environ)  # noqa: S603 - our own command line
    return os.execve(python, command, environ)  # noqa: S606 - likewise; signals reach it directly


def make_environment(folder: Path, python: Path, lock: str) -> None:
    """Installs the packages of a lock file, hashes checked."""
    try:
        import ensurepip  # noqa: F401, PLC0415 - some systems split it off
        import venv  # noqa: PLC0415 - likewise
    except ImportError:
        sys.exit(
            refuse(
                "Python's venv module is missing; install it first (on Debian and Ubuntu: "
                f"apt install python{sys.version_info.major}.{sys.version_info.minor}-venv)."
            )
        )
    packages = sum(line[:1].isalnum() for line in (ROOT / lock).read_text().splitlines())
    say(f"Making the environment in {folder} ({packages} packages, about 2.5 GB, some minutes).")
    started = time.monotonic()
    if folder.exists() and not (python.exists() and same_python(python)):
        shutil.rmtree(folder)
    if not python.exists():
        venv.create(folder, with_pip=True)
    with ticking(started):
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
        subprocess.run(  # noqa: S603 - our own command line
            [str(python), "-m", "pip", "install", *options, "-r", str(ROOT / lock)],
            check=True,
            stdout=sys.stderr,
        )
    (folder / MARK).write_text("\n".join(sorted({*installed(folder), fingerprint(lock)})))
    say(f"The environment is ready ({time.monotonic() - started:.0f} s).")


def is_current(folder: Path, lock: str) -> bool:
    """Whether the environment has what a lock file asks for."""
    return fingerprint(lock) in installed(folder)


def installed(folder: Path) -> list[str]:
    """The fingerprints of the lock files that are installed and still in force."""
    mark = folder / MARK
    known = mark.read_text().split() if mark.exists() else []
    # The developers' lock holds the other one's packages, at the same versions.
    if fingerprint("requirements-dev.lock") in known:
        known.append(fingerprint("requirements.lock"))
    return known


def fingerprint(lock: str) -> str:
    """A lock file's content and the Python it is installed for, in one word."""
    text = (ROOT / lock).read_bytes() + repr(sys.version_info[:2]).encode()
    return hashlib.sha256(text).hexdigest()


def same_python(python: Path) -> bool:
    """Whether the environment's Python starts and has this one's version."""
    probe = "import sys; print(*sys.version_info[:2])"
    answer = subprocess.run(  # noqa: S603 - our own command line
        [str(python), "-c", probe], capture_output=True, text=True, check=False
    )
    return answer.stdout.split() == [str(part) for part in sys.version_info[:2]]


class ticking:  # noqa: N801 - reads as a verb: with ticking(...)
    """Shows that time passes while packages are fetched."""

    def __init__(self, started: float) -> None:
        self._started, self._done = started, threading.Event()

    def __enter__(self) -> None:
        threading.Thread(target=self._run, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self._done.set()

    def _run(self) -> None:
        while not self._done.wait(15):
            say(f"Installing packages, {time.monotonic() - self._started:.0f} s so far.")


def say(sentence: str) -> None:
    """Progress goes to stderr: stdout belongs to the command."""
    print(sentence, file=sys.stderr, flush=True)  # noqa: T201 - this is how it talks


def refuse(sentence: str) -> int:
    """One sentence, exit code 1."""
    say(sentence)
    return 1


if __name__ == "__main__":
    sys.exit(main())
