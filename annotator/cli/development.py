"""For those who work on Annotator itself."""

import subprocess
import sys
from pathlib import Path

import click

from annotator.cli.tools import tell
from annotator.core.errors import Conflict

ROOT = Path(__file__).resolve().parents[2]
CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("importlinter.cli",),
)


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def test(arguments: tuple[str, ...]) -> int:
    """Runs the tests; ARGUMENTS go to pytest."""
    return _test(*arguments)


@click.command()
def check() -> int:
    """Runs everything that CI runs: tests, style, types, floors."""
    return max(_test(), lint())


def _test(*arguments: str) -> int:
    # The whole suite takes every core, a file to each; some files alone start faster on one.
    named = any(Path(argument.partition("::")[0]).exists() for argument in arguments)
    spread = () if named else ("--numprocesses=logical", "--dist=loadfile")
    return _run("pytest", *spread, *arguments)


def lint() -> int:
    """Style, types and floors; the worst exit code."""
    return max(_run(*command) for command in CHECKS)


@click.command("lint")
def lint_command() -> int:
    """Style, types and floors."""
    return lint()


def _run(module: str, *arguments: str) -> int:
    if not (ROOT / "tests").is_dir():
        raise Conflict("This is an installed copy; the tests are in the source repository.")
    if module == "importlinter.cli":
        command = [str(Path(sys.executable).with_name("lint-imports"))]
    else:
        command = [sys.executable, "-m", module, *arguments]
    tell(f"$ {module} {' '.join(arguments)}".rstrip())
    code = subprocess.call(command, cwd=ROOT)  # noqa: S603 - our own tools
    return min(code, 1)


COMMANDS = (test, check, lint_command)
