"""Waitress as we run it: nothing that is sent or answered touches a disk, and memory is bounded.

Waitress would write a large body to a temporary file, in the clear. Kept in memory instead, a
hundred connections could send a hundred bodies of the largest size at once, before anybody asked
who sends them. So large bodies share a budget: one that does not fit waits in line, unread, and
its sender waits with it. Small requests (pages, votes) never wait.
"""

import threading
import time
from collections import OrderedDict
from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import BaseWSGIServer, create_server

from annotator.core.config import Settings

MEGABYTE = 10**6  # bytes
SMALL = 256 * 1024  # bytes; a hundred connections with such bodies need 25 MB
AT_ONCE = 3  # bodies of the largest size
SECONDS = 300  # that a body may take while others wait for its place
ANSWERS = MEGABYTE  # bytes of an answer that wait for a slow reader; the writer waits for the rest


class Budget:
    """Bytes that all large bodies together may take, in the order in which they came.

    Args:
        size: how many; at least what the largest body needs.
    """

    def __init__(self, size: int) -> None:
        self._free = size
        self._lock = threading.Lock()
        self._held: dict[object, tuple[int, float]] = {}
        self._line: OrderedDict[object, int] = OrderedDict()

    def admit(self, who: object, size: int) -> bool:
        """Whether this body may be read now; if not, it keeps its place in the line."""
        with self._lock:
            if who in self._held:
                return True
            self._line.setdefault(who, size)
            if next(iter(self._line)) is not who or size > self._free:
                return False
            del self._line[who]
            self._free -= size
            self._held[who] = (size, time.monotonic())
            return True

    def is_late(self, who: object) -> bool:
        """Whether this body takes too long while others wait."""
        with self._lock:
            _, since = self._held.get(who, (0, time.monotonic()))
            return bool(self._line) and time.monotonic() - since > SECONDS

    def release(self, who: object) -> None:
        """Gives the place back, or leaves the line."""
        with self._lock:
            self._line.pop(who, None)
            size, _ = self._held.pop(who, (0, 0.0))
            self._free += size


class _Request(HTTPRequestParser):  # type: ignore[misc]
    """A request that knows how large its body may become."""

    budget: Budget

    @property
    def need(self) -> int:
        """Bytes; a body of unknown length may become as large as any."""
        size: int = self.adj.max_request_body_size if self.chunked else self.content_length
        return size

    def close(self) -> None:
        super().close()
        self.budget.release(self)


class _Channel(HTTPChannel):  # type: ignore[misc]
    """A connection that is not read while its body has no place."""

    budget: Budget
    request: _Request | None

    def readable(self) -> bool:
        request = self.request
        if request is not None and request.headers_finished and request.need > SMALL:
            if not self.budget.admit(request, request.need):
                self.last_activity = time.time()  # it is we who keep it waiting
                return False
            if self.budget.is_late(request):
                self.will_close = True
        return bool(super().readable())

    def handle_close(self) -> None:
        super().handle_close()
        if self.request is not None:  # half read; one that is whole is closed after its task
            self.request.close()


def make_server(app: Any, settings: Settings, **place: Any) -> Any:
    """A server, listening; ``run`` serves until the process ends.

    Args:
        app: the WSGI app.
        settings: limits, threads, and the proxy that is trusted.
        place: ``host`` and ``port``, or ``sockets``.
    """
    largest = (settings.max_upload_mb + 1) * MEGABYTE
    connections: dict[int, Any] = {}
    server = create_server(
        app,
        map=connections,
        threads=settings.web_threads,
        ident=None,
        max_request_body_size=largest,
        # Never reached, so that Waitress never makes a temporary file.
        inbuf_overflow=largest + MEGABYTE,
        outbuf_overflow=largest + MEGABYTE,
        outbuf_high_watermark=ANSWERS,
        clear_untrusted_proxy_headers=True,
        **_proxy(settings.trusted_proxy),
        **place,
    )
    budget = Budget(AT_ONCE * largest)
    request_class = type("Request", (_Request,), {"budget": budget})
    channel_class = type("Channel", (_Channel,), {"budget": budget, "parser_class": request_class})
    for listening in connections.values():
        if isinstance(listening, BaseWSGIServer):
            listening.channel_class = channel_class
    return server


def _proxy(address: str) -> dict[str, Any]:
    if not address:
        return {}
    return {
        "trusted_proxy": address,
        "trusted_proxy_count": 1,
        "trusted_proxy_headers": {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"},
    }
