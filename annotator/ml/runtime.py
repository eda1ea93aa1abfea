"""Opens Keras on TensorFlow quietly. Everything on this floor imports ``keras`` from here.

TensorFlow greets on standard error when it is imported, before any of its settings for logging is
heard. The greetings would fill the worker's log and read like faults, so they are held back; every
other line that appears meanwhile is passed on.
"""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

GREETINGS = re.compile(rb"^(WARNING: All log messages before absl::InitializeLog|I0000 00:00:)")


def _open_memory() -> IO[bytes]:
    """A file in memory; where the system has none, a temporary one (it only ever holds a log)."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("greetings"), "w+b")
    return tempfile.TemporaryFile()


@contextmanager
def _without_greetings() -> Iterator[None]:
    """Holds standard error back, the native one too, and lets through what is no greeting."""
    with _open_memory() as held:
        original = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(original, 2)
            os.close(original)
            held.seek(0)
            for line in held:
                if not GREETINGS.match(line):
                    os.write(2, line)


# What an operator has set stays.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

with _without_greetings():
    import keras
    import tensorflow as tf

    # keras.saving.load_model only takes a path, and sealed weights must not be written to a disk
    # in the clear to be opened; the function behind it takes an open file.
    from keras.src.saving import saving_lib

__all__ = ["keras", "saving_lib", "tf"]
