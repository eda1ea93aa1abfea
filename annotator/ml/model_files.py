"""Keras model files: opened without trusting them, written whole and always the same.

A ``.keras`` file is a zip of a description (JSON) and weights (HDF5). Descriptions can name any
Python class; Keras's safe mode refuses code, and here only Keras's own layers are let through.
Nothing is ever unpickled.
"""

import io
import json
import os
import secrets
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from annotator.core.errors import InvalidInput
from annotator.ml.runtime import saving_lib, tf

PARTS = {"metadata.json", "config.json", "model.weights.h5"}
LARGEST = 256 * 2**20
"""Bytes that a model may unpack to; ours needs 3 MB, a VGG16 60 MB."""
MODULES = {
    "keras",
    "keras.initializers",
    "keras.layers",
    "keras.src.models.functional",
}
LINK = "__keras_tensor__"
"""How a description says what flows into a layer; the one entry that is no class."""
# Layers that run code of their file, or read or fetch other files.
REFUSED = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "FlaxLayer", "JaxLayer"}
UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    ValueError,
    EOFError,
    NotImplementedError,
    RecursionError,
)
UNBUILDABLE = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OSError,
    MemoryError,
    OverflowError,
)
FOREIGN = "This is not a model file that Annotator wrote; choose a .keras file of an earlier run."


def open_model(data: bytes) -> Any:
    """Opens a model from the bytes of its file, ready to predict, not to train.

    Raises:
        InvalidInput: the bytes are no Keras file, too large, damaged, or describe anything but
            Keras's own layers.
    """
    _check_archive(data)
    try:
        return saving_lib.load_model(io.BytesIO(data), safe_mode=True, compile=False)
    except (*UNBUILDABLE, tf.errors.OpError) as error:
        raise InvalidInput(FOREIGN) from error


def _check_archive(data: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if {entry.filename for entry in entries} != PARTS or len(entries) != len(PARTS):
                raise InvalidInput(FOREIGN)
            if sum(entry.file_size for entry in entries) > LARGEST:
                raise InvalidInput("This model file is too large.")
            damaged = archive.testzip()
            description = json.loads(archive.read("config.json"))
    except UNREADABLE as error:
        raise InvalidInput(FOREIGN) from error
    if damaged:
        raise InvalidInput(FOREIGN)
    for module, name in _classes(description):
        known = module in MODULES or (module is None and name == LINK)
        if not known or name in REFUSED:
            raise InvalidInput(FOREIGN)


def _classes(description: Any) -> Iterator[tuple[str | None, str]]:
    """Every class that a description names, with its module."""
    waiting = [description]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if "class_name" in part:
                yield part.get("module"), str(part["class_name"])
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


def pack_model(model: Any) -> bytes:
    """A model as the bytes of its file, made in memory; equal models give equal bytes."""
    packed = io.BytesIO()
    with warnings.catch_warnings():
        # TensorFlow's variables do not yet speak NumPy 2's protocol for copies.
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        # To an open file: given a path, Keras may write the weights beside it first.
        saving_lib.save_model(model, packed)
    return _without_dates(packed.getvalue())


def save_model(model: Any, out: Path) -> None:
    """Writes a model so that it appears whole or not at all; equal models give equal bytes."""
    write_model(pack_model(model), out)


def write_model(data: bytes, out: Path) -> None:
    """Writes what ``pack_model`` made, whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{secrets.token_hex(4)}-{out.stem}.keras")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


def _without_dates(data: bytes) -> bytes:
    """The same archive with every date at 1980, the first that a zip knows."""
    result = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as source,
        zipfile.ZipFile(result, "w") as target,
    ):
        for name in sorted(source.namelist()):
            content = source.read(name)
            if name == "metadata.json":
                content = json.dumps(json.loads(content) | {"date_saved": "1980-01-01"}).encode()
            # Weights stay plain: HDF5 jumps about in them, which a packed entry makes slow.
            packing = zipfile.ZIP_STORED if name.endswith(".h5") else zipfile.ZIP_DEFLATED
            target.writestr(zipfile.ZipInfo(name), content, packing)
    return result.getvalue()
