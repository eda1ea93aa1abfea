"""Large downloads that go on where they broke off: HTTP ranges (RFC 9110, section 14)."""

from collections.abc import Callable, Iterator
from http import HTTPStatus

from flask import Response, request
from werkzeug.exceptions import RequestedRangeNotSatisfiable

OpenPart = Callable[[int, int | None], Iterator[bytes]]


def send_download(*, name: str, kind: str, size: int, tag: str, open_part: OpenPart) -> Response:
    """Streams a file, or the one part of it that was asked for; nothing is held in memory.

    Args:
        name: what the browser calls the file; ASCII without quotes.
        kind: its media type.
        size: its length in bytes.
        tag: changes when a byte of it does; a part is sent only of the file that was begun.
        open_part: gives the bytes from a first to the one before a last, or to the end; is not
            called for HEAD.

    Raises:
        RequestedRangeNotSatisfiable: the part lies behind the end.
    """
    part = _asked_part(size, tag)
    start, stop = part or (0, size)
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": "no-store",
        "Content-Disposition": f'attachment; filename="{name}"',
        "Content-Length": str(stop - start),
        "ETag": f'"{tag}"',
    }
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    pieces: Iterator[bytes] = iter(())
    if request.method != "HEAD":
        pieces = open_part(start, None if part is None else stop)
    status = HTTPStatus.OK if part is None else HTTPStatus.PARTIAL_CONTENT
    return Response(pieces, status, headers, mimetype=kind)


def _asked_part(size: int, tag: str) -> tuple[int, int] | None:
    """First byte and the one after the last; nothing when the whole file is to be sent."""
    asked = request.range
    if request.method != "GET" or asked is None or asked.units != "bytes":
        return None
    # A date never is ours, and a weak tag promises no equal bytes: both mean the whole file.
    if request.headers.get("If-Range", f'"{tag}"') != f'"{tag}"':
        return None
    if len(asked.ranges) != 1:  # several parts may be answered with the whole
        return None
    start, stop = asked.ranges[0]
    if start < 0:  # so many bytes from the end; werkzeug refuses more than there are
        start = max(0, size + start)
    stop = size if stop is None else min(stop, size)
    if start >= stop:
        raise RequestedRangeNotSatisfiable(size)
    return start, stop
