"""Secrets that people type: never an argument, which others on the machine could read."""

import sys

import click

from annotator.core.errors import InvalidInput

MIN_PASSPHRASE = 12  # characters


def ask_secret(what: str, *, confirm: bool = False) -> str:
    """Asks without echo; reads one line of stdin when that is no terminal.

    Raises:
        InvalidInput: nothing was given.
    """
    if sys.stdin.isatty():
        text = click.prompt(what, hide_input=True, confirmation_prompt=confirm, err=True)
    else:
        text = sys.stdin.readline()
    found = str(text).rstrip("\r\n")
    if not found:
        raise InvalidInput(f"{what}: nothing was given on the terminal or on stdin.")
    return found


def ask_new_passphrase() -> str:
    """A passphrase for a new slot, typed twice on a terminal.

    Raises:
        InvalidInput: it is too short.
    """
    text = ask_secret("New passphrase", confirm=True)
    if len(text) < MIN_PASSPHRASE:
        raise InvalidInput(f"A passphrase needs at least {MIN_PASSPHRASE} characters.")
    return text
