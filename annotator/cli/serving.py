"""Starting the product: everything, its parts, or a demo of it."""

import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import click

from annotator.cli.processes import (
    Child,
    StartFailed,
    check_port,
    free_port,
    supervise,
    supervised,
    wait_until_served,
)
from annotator.cli.tools import open_tools, tell

log = logging.getLogger(__name__)
port_option = click.option("--port", type=click.IntRange(0, 65535), help="0 takes a free one.")


@click.command()
@port_option
def run(port: int | None) -> None:
    """Everything: the web server and a worker, until Ctrl-C."""
    settings = open_tools().settings
    host, chosen = settings.host, _choose_port(settings.host, port, settings.port)
    url = _serve(host, chosen, dict(os.environ), lambda url: tell(f"Annotator is on {url}"))
    tell(f"{url} is closed.")


@click.command()
@click.option("--host", help="Address to listen on.")
@port_option
@supervised
def web(host: str | None, port: int | None) -> None:
    """One web server; any number may share a PostgreSQL database."""
    tools = open_tools()
    from annotator.cli.webserver import make_server  # noqa: PLC0415 - other commands need no server
    from annotator.web import create_app  # noqa: PLC0415 - likewise

    settings = tools.settings
    address, chosen = host or settings.host, settings.port if port is None else port
    check_port(address, chosen)
    signal.signal(signal.SIGTERM, _leave)
    server = make_server(create_app(tools), settings, host=address, port=chosen)
    log.info("serving on %s:%s", address, chosen)
    server.run()


@click.command()
@supervised
def worker() -> None:
    """One Celery worker; any number may share a broker and a database."""
    tools = open_tools()
    from annotator.worker import serve  # noqa: PLC0415 - the web server needs no worker

    serve(tools)


@click.command()
@port_option
@click.option("--json", "as_json", is_flag=True, help="Address and sign-ins as one JSON object.")
def demo(port: int | None, as_json: bool) -> None:
    """A throw-away installation with people, consents and faces of nobody, until Ctrl-C."""
    started = time.monotonic()
    signal.signal(signal.SIGTERM, _leave)
    host = "127.0.0.1"
    chosen = _choose_port(host, port, 8000)
    folder = Path(tempfile.mkdtemp(prefix="annotator-demo-"))
    try:
        environ = _demo_environ(folder / "data")
        report = _fill(folder / "report.json", environ)

        def announce(url: str) -> None:
            report.update(url=url, data=str(folder / "data"))
            if as_json:
                keys = ("url", "token", "users", "data")
                click.echo(json.dumps({key: report[key] for key in keys}))
            else:
                tell(_greeting(report, time.monotonic() - started))

        _serve(host, chosen, environ, announce)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _serve(host: str, port: int, environ: Mapping[str, str], announce: Any) -> str:
    children = [Child(["web", "--host", host, "--port", str(port)], environ)]
    try:
        children.append(Child(["worker"], environ))
        wait_until_served(children[0], "127.0.0.1" if host == "0.0.0.0" else host, port)  # noqa: S104
        url = f"http://{host}:{port}"
        announce(url)
    except BaseException:
        for child in children:
            child.stop()
        raise
    supervise(children)
    return url


def _choose_port(host: str, asked: int | None, usual: int) -> int:
    if asked == 0:
        return free_port(host)
    check_port(host, usual if asked is None else asked)
    return usual if asked is None else asked


def _demo_environ(data: Path) -> dict[str, str]:
    # A demo is of nobody's settings: what is set for a real installation must not reach it.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANNOTATOR_")}
    return kept | {"ANNOTATOR_DATA": str(data)}


def _fill(report: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    child = Child(["demo-data", str(report)], environ)
    try:
        while child.running:
            time.sleep(0.05)
    finally:
        child.stop()
    if not report.exists():
        raise StartFailed("The demo installation could not be made; see above.")
    result: dict[str, Any] = json.loads(report.read_text())
    return result


def _greeting(report: dict[str, Any], seconds: float) -> str:
    width = max(len(user["email"]) for user in report["users"])
    people = "\n".join(
        f"  {user['email']:<{width}}  {user['password']}  {user['role']}"
        for user in report["users"]
    )
    return (
        f"\nAnnotator is on {report['url']} (ready in {seconds:.0f} s). Sign in as\n\n{people}\n\n"
        "Everybody in the pictures is drawn; nobody is real. Ctrl-C ends the demo and erases it."
    )


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


COMMANDS = (demo, run, web, worker)
