"""The log: checking it, signing it, and being a witness for somebody else's."""

import signal
import sys
import urllib.parse
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType

import click

from annotator.bootstrap import Toolbox
from annotator.bootstrap.witness import split_notes
from annotator.cli.tools import answer, open_tools, tell
from annotator.core.errors import AnnotatorError, InvalidInput, StorageFailed
from annotator.domain import audit
from annotator.vault import notes
from annotator.vault.witness import MOST_BODY, Answer, Witness, open_seed

json_option = click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")
notes_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group("audit")
def log() -> None:
    """The log of everything that happened."""


@log.command()
@click.option("--checkpoint", type=notes_file, help="A checkpoint that you kept.")
@click.option("--witness", type=notes_file, help="A witness's file, with any number of them.")
@json_option
def verify(checkpoint: Path | None, witness: Path | None, as_json: bool) -> None:
    """Checks every entry against the tree, the signatures and the witness; 1 when one is bad."""
    tools = open_tools()
    mirrored, silent = _collect(tools, [file for file in (checkpoint, witness) if file])
    with tools.sessions() as session:
        verifier = audit.verifier_of(tools.vault)
        report = audit.verify_log(session, verifier=verifier, mirrored=mirrored)
    answer(
        {
            "entries": report.size,
            "root": report.root.hex(),
            "checkpoints": report.checkpoints,
            "first_bad": report.first_bad,
            "problems": [problem._asdict() for problem in report.problems],
            "witness": silent,
        },
        as_json=as_json,
        text=f"{report.size:,} entries, {report.checkpoints:,} signed checkpoints that fit.",
    )
    if silent:
        tell(silent)
    if report.problems:
        tell(f"The log cannot be trusted from entry {report.first_bad} on:")
        for problem in report.problems:
            tell(f"  {problem.sentence}")
        click.get_current_context().exit(1)


def _collect(tools: Toolbox, files: list[Path]) -> tuple[list[audit.Signed], str]:
    """Checkpoints from files and from the witness, and why the witness says nothing."""
    found = [
        audit.Signed(note, f"in {file.name}")
        for file in files
        for note in split_notes(file.read_text("utf-8")) or [""]
    ]
    if tools.witness is None:
        return found, "" if files else "No witness is set: a log that was set back looks good."
    try:
        theirs = tools.witness.read(audit.origin_of(tools.vault))
    except AnnotatorError as error:
        return found, error.message
    return [*found, *(audit.Signed(note, "at the witness") for note in theirs)], ""


@log.command()
@json_option
def checkpoint(as_json: bool) -> None:
    """Signs the log now and hands the checkpoint to the witness."""
    tools = open_tools()
    done = audit.mirror_log(tools.transaction, tools=tools)
    with tools.sessions() as session:
        newest = audit.newest_checkpoint(session)
    note = newest.note if newest else ""
    answer(
        {"size": done.size, "note": note, "witness": done.place, "problem": done.problem},
        as_json=as_json,
        text=note.rstrip("\n"),
    )
    if done.problem:
        tell(f"{done.problem} The checkpoint is kept and sent again later.")


@log.command()
def key() -> None:
    """The log's public key, for whoever checks receipts or is a witness."""
    click.echo(str(audit.verifier_of(open_tools().vault)))


@click.command()
@click.option("--state", type=click.Path(dir_okay=False, path_type=Path), required=True)
@click.option(
    "--key", type=click.Path(dir_okay=False, path_type=Path), required=True, help="Made if missing."
)
@click.option("--log", "logs", multiple=True, help="A log's public key, from `audit key`.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=8100, show_default=True)
def witness(state: Path, key: Path, logs: tuple[str, ...], host: str, port: int) -> None:
    """A witness for logs of other machines: signs what continues what it signed before."""
    watching = Witness(state, seed=open_seed(key))
    for text in logs:
        watching.trust(notes.Verifier.parse(text))
    if not watching.logs:
        raise InvalidInput("Name a log with --log; its machine tells its key with `audit key`.")
    signal.signal(signal.SIGTERM, _leave)
    with open_server(watching, host, port) as server:
        click.echo(str(watching.verifier))
        tell(f"The witness is on http://{host}:{server.server_address[1]}; Ctrl-C ends it.")
        server.serve_forever()


def open_server(watching: Witness, host: str, port: int) -> ThreadingHTTPServer:
    """The witness on a port; 0 takes a free one."""

    class Handler(BaseHTTPRequestHandler):
        """``add-checkpoint`` of C2SP, and the newest checkpoint of a log for whoever asks."""

        def do_POST(self) -> None:
            """Takes a checkpoint."""
            length = self.headers.get("Content-Length", "")
            if self.path != "/add-checkpoint":
                self._say(Answer(HTTPStatus.NOT_FOUND, "There is nothing here.\n"))
            elif not length.isdigit() or int(length) > MOST_BODY:
                self._say(Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "That is too large.\n"))
            else:
                self._say(_add(watching, self.rfile.read(int(length))))

        def do_GET(self) -> None:
            """Gives the newest checkpoint."""
            address = urllib.parse.urlsplit(self.path)
            origin = urllib.parse.parse_qs(address.query).get("origin", [""])[0]
            note = watching.newest(origin) if address.path == "/checkpoint" else ""
            empty = Answer(HTTPStatus.NOT_FOUND, "There is no checkpoint.\n")
            self._say(Answer(HTTPStatus.OK, note) if note else empty)

        def _say(self, said: Answer) -> None:
            data = said.text.encode()
            self.send_response(said.status)
            self.send_header("Content-Type", said.kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Says nothing: what was signed is in the state file."""

    return ThreadingHTTPServer((host, port), Handler)


def _add(watching: Witness, body: bytes) -> Answer:
    try:
        return watching.add(body.decode())
    except UnicodeDecodeError:
        return Answer(HTTPStatus.BAD_REQUEST, "This is no request to add a checkpoint.\n")
    except StorageFailed as error:
        return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, f"{error.message}\n")


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


COMMANDS = (log, witness)
