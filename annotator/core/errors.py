"""The one tree of errors.

Every error carries a stable ``code`` for programs, a message that is safe to show to the person
who caused it (no paths, no keys, no personal data), and the HTTP status that the doors map it to.
They are raised low and caught once, at a door: a page, problem+json, or an exit code.
"""

from typing import ClassVar


class AnnotatorError(Exception):
    """Base of all errors that a user may see.

    Args:
        message: one plain sentence; replaces the class's default.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Something went wrong."

    def __init__(self, message: str | None = None) -> None:
        self.message = message or self.title
        super().__init__(self.message)


class InvalidInput(AnnotatorError):
    """What was sent cannot be understood or is out of bounds."""

    code = "invalid_input"
    status = 422
    title = "The input is not valid."


class UnsupportedImage(InvalidInput):
    """A file that is not an image that we take, or is damaged."""

    code = "unsupported_image"
    status = 415
    title = "This file is not a JPEG, PNG or WebP picture that can be read."


class TooLarge(InvalidInput):
    """A file or a picture over a limit."""

    code = "too_large"
    status = 413
    title = "The file is too large."


class NotSignedIn(AnnotatorError):
    """No credentials, or wrong ones."""

    code = "not_signed_in"
    status = 401
    title = "Please sign in."


class Forbidden(AnnotatorError):
    """Signed in, but not allowed."""

    code = "forbidden"
    status = 403
    title = "Your role does not allow this."


class NotFound(AnnotatorError):
    """The thing does not exist, or not for this person."""

    code = "not_found"
    status = 404
    title = "There is nothing here under that name."


class Conflict(AnnotatorError):
    """The request does not fit the present state."""

    code = "conflict"
    status = 409
    title = "This does not fit the present state."


class ConsentMissing(AnnotatorError):
    """The gate said no."""

    code = "consent_missing"
    status = 409
    title = "The person has not consented to this."


class Tampered(AnnotatorError):
    """A sealed thing does not open: changed, swapped, or sealed by another key."""

    code = "tampered"
    status = 500
    title = "A stored item is damaged or was changed and cannot be opened."


class KeyDestroyed(AnnotatorError):
    """The key is gone, so what it sealed is gone."""

    code = "key_destroyed"
    status = 410
    title = "This was erased; its key no longer exists."


class Locked(AnnotatorError):
    """The vault does not open: no way in was given, or none of those given fits."""

    code = "locked"
    status = 503
    title = "The vault is locked."


class Busy(AnnotatorError):
    """Somebody else has been writing for too long."""

    code = "busy"
    status = 503
    title = "The database is busy. Nothing was changed; try again in a moment."


class StorageFull(AnnotatorError):
    """The disk took no more bytes; nothing was half written."""

    code = "storage_full"
    status = 507
    title = "The disk is full. Nothing was stored; free some space and try again."


class StorageFailed(AnnotatorError):
    """The disk failed in another way (an fsync or a write that returned an error)."""

    code = "storage_failed"
    status = 500
    title = "The storage failed. Nothing was acknowledged; check the disk."


class WitnessFailed(AnnotatorError):
    """The witness did not take a checkpoint; the log goes on without it."""

    code = "witness_failed"
    status = 502
    title = "The witness could not be reached."


class Cancelled(AnnotatorError):
    """A person stopped the job."""

    code = "cancelled"
    status = 409
    title = "This job was cancelled."
