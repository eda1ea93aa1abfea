"""What people upload stays in memory until it is sealed: nothing of it touches the disk in clear.

Werkzeug would spool a large part of a form into a temporary file. The whole request is bounded by
``max_upload_mb``, and the server bounds how many large ones there are at once.
"""

import io
from typing import IO

from flask import Flask, Request
from flask.blueprints import BlueprintSetupState


class _Part(io.BytesIO):
    """A part that is handed out whole without being copied."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() == 0 and (size is None or size < 0):
            self.seek(0, io.SEEK_END)
            return self.getvalue()  # shares the buffer
        return super().read(size)


class MemoryRequest(Request):
    """A request whose uploaded parts never become temporary files."""

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        del total_content_length, content_type, filename, content_length
        return _Part()


def keep_in_memory(state: BlueprintSetupState) -> None:
    """Makes an app keep uploads in memory, once a blueprint that takes them is registered."""
    assert isinstance(state.app, Flask)
    state.app.request_class = MemoryRequest
