"""A real S3 server on the loopback, and a wire to it that can be cut, stalled and slowed down."""

import contextlib
import selectors
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

BUCKET = "faces"


class Wire:
    """Passes bytes between clients and a server.

    Attributes:
        cut_after: bytes from the clients after which every connection is broken; none passes then.
        silent: nothing comes back any more; connections stay open.
        pause: seconds to wait before each packet of an answer.
        break_next: the next answer is lost with its connection.
        sent: bytes that came from the clients.
    """

    def __init__(self, server: tuple[str, int]) -> None:
        self.cut_after: int | None = None
        self.silent = False
        self.pause = 0.0
        self.sent = 0
        self.break_next = False
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # or it would take one more
        self._listener.close()
        for each in self._open:
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.cut_after is not None and self.cut_after <= 0:
                client.close()
                continue
            server = socket.create_connection(self._server)
            self._open += [client, server]
            threading.Thread(target=self._pass, args=(client, server), daemon=True).start()

    def _pass(self, client: socket.socket, server: socket.socket) -> None:
        with client, server, contextlib.suppress(OSError), selectors.DefaultSelector() as ready:
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _ in ready.select():
                    source, target = key.fileobj, key.data
                    assert isinstance(source, socket.socket)
                    data = source.recv(65536)
                    if not data:
                        return
                    self.sent += len(data) if source is client else 0
                    if source is client and self.cut_after is not None:
                        data = data[: max(0, self.cut_after)]
                        self.cut_after -= len(data)
                        target.sendall(data)
                        if self.cut_after <= 0:
                            return
                        continue
                    if source is server:
                        time.sleep(self.pause)
                        if self.silent:
                            continue
                        if self.break_next:
                            self.break_next = False
                            return
                    target.sendall(data)


class ObjectServer:
    """An S3 server with a bucket."""

    def __init__(self) -> None:
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        self.place = self._server.get_host_and_port()
        self.url = "http://{}:{}".format(*self.place)

    def stop(self) -> None:
        self._server.stop()

    def reset(self) -> None:
        """Forgets everything but makes the bucket again."""
        self._ask("POST", "/moto-api/reset")
        self._ask("PUT", f"/{BUCKET}")

    def check_keys(self, after: int) -> None:
        """Refuses unknown access keys after a number of requests."""
        self._ask("POST", "/moto-api/reset-auth", str(after).encode())

    def objects(self) -> dict[str, bytes]:
        """Every object by its key, as its owner finds it."""
        return {key: kept.value for key, kept in self._backend().buckets[BUCKET].keys.items()}

    def put(self, key: str, data: bytes) -> None:
        """Writes an object behind everybody's back."""
        self._backend().put_object(BUCKET, key, data)

    def _backend(self) -> Any:
        (backend,) = s3_backends[DEFAULT_ACCOUNT_ID].values()
        return backend

    def _ask(self, method: str, path: str, body: bytes | None = None) -> None:
        plain = {"Content-Type": "text/plain"}
        request = urllib.request.Request(self.url + path, body, plain, method=method)
        with urllib.request.urlopen(request) as answer:
            answer.read()


@contextlib.contextmanager
def serve_objects() -> Iterator[ObjectServer]:
    server = ObjectServer()
    try:
        yield server
    finally:
        server.stop()
