"""Large bodies wait for each other in memory that is bounded; small requests never wait."""

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from waitress import wasyncore

from annotator.cli import webserver
from annotator.cli.webserver import AT_ONCE, MEGABYTE, Budget, make_server
from annotator.core.config import Settings

LARGE = MEGABYTE + 500_000  # bytes; the largest that fits under a limit of one megabyte and a bit


@dataclass
class Site:
    """A server with an app that answers large requests only when it is told to."""

    port: int
    go_on: threading.Event = field(default_factory=threading.Event)
    inside: int = 0
    most: int = 0

    def app(self, environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        data = environ["wsgi.input"].read()
        if len(data) > webserver.SMALL:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.go_on.wait(30)
            self.inside -= 1
        start("200 OK", [("Content-Type", "text/plain")])
        return [str(len(data)).encode()]

    def send(self, size: int) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("POST", "/", bytes(size))
        said = connection.getresponse().read().decode()
        connection.close()
        return said

    def begin(self, size: int, sent: int) -> socket.socket:
        """A request whose body does not come to its end."""
        opened = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        opened.sendall(f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode())
        opened.sendall(bytes(sent))
        return opened


@pytest.fixture
def site(free_port: int) -> Iterator[Site]:
    made = Site(free_port)
    server = make_server(
        made.app, Settings(max_upload_mb=1, web_threads=8), host="127.0.0.1", port=free_port
    )
    connections, stopping = server._map, threading.Event()

    def serve() -> None:
        while not stopping.is_set():
            wasyncore.loop(timeout=0.05, map=connections, count=1)
        server.task_dispatcher.shutdown()
        wasyncore.close_all(connections)

    thread = threading.Thread(target=serve)
    thread.start()
    yield made
    made.go_on.set()
    stopping.set()
    thread.join(10)
    assert not thread.is_alive()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_large_bodies_take_turns_and_small_ones_pass(site: Site) -> None:
    answers: list[str] = []
    senders = [threading.Thread(target=lambda: answers.append(site.send(LARGE))) for _ in range(8)]
    for sender in senders:
        sender.start()
    wait_until(lambda: site.inside >= AT_ONCE)
    assert site.send(1000) == "1000"
    assert site.send(0) == "0"
    time.sleep(0.3)
    assert site.inside == site.most == 3 * 2 * MEGABYTE // LARGE  # the budget, full
    site.go_on.set()
    for sender in senders:
        sender.join()
    assert answers == [str(LARGE)] * 8
    assert site.most < 8


def test_whoever_leaves_half_way_gives_the_place_back(site: Site) -> None:
    site.go_on.set()
    half = [site.begin(LARGE, 1000) for _ in range(8)]  # some hold places, some stand in line
    time.sleep(0.3)
    for opened in half:
        opened.close()
    assert site.send(LARGE) == str(LARGE)


def test_whoever_dawdles_loses_the_place_when_others_wait(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webserver, "SECONDS", 0.2)
    site.go_on.set()
    half = [site.begin(LARGE, 1000) for _ in range(4)]
    time.sleep(0.3)
    assert site.send(LARGE) == str(LARGE)
    for opened in half:
        opened.close()


def test_a_body_of_unknown_length_counts_as_the_largest(site: Site) -> None:
    site.go_on.set()
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
    connection.request("POST", "/", iter([bytes(300_000)] * 4), encode_chunked=True)
    assert connection.getresponse().read() == b"1200000"
    connection.close()


def test_a_body_over_the_limit_is_refused_and_holds_no_place(site: Site) -> None:
    site.go_on.set()
    for _ in range(8):
        opened = site.begin(50 * MEGABYTE, 1000)
        assert opened.recv(100).startswith(b"HTTP/1.1 413 ")
        opened.close()
    assert site.send(LARGE) == str(LARGE)


def test_the_budget_serves_in_order_and_never_gives_more_than_it_has() -> None:
    budget = Budget(10)
    assert budget.admit("a", 6)
    assert not budget.admit("b", 6)
    assert not budget.admit("c", 2)  # it would fit, but b came first
    budget.release("a")
    assert not budget.admit("c", 2)
    assert budget.admit("b", 6)
    assert budget.admit("c", 2)
    assert budget.admit("c", 2)  # asked again, counted once
    for who in "abc":
        budget.release(who)
        budget.release(who)
    assert budget.admit("d", 10)
    assert not budget.is_late("d")
