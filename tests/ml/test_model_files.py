import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from annotator.core.errors import InvalidInput
from annotator.ml import model_files
from annotator.ml.classifier import load_model
from annotator.ml.model_files import open_model, save_model
from annotator.ml.runtime import keras


def rewritten(data: bytes, change: Callable[[dict[str, bytes]], None]) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    change(parts)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return out.getvalue()


def with_layer(module: str | None, name: str) -> Callable[[dict[str, bytes]], None]:
    def change(parts: dict[str, bytes]) -> None:
        config = json.loads(parts["config.json"])
        layer = config["config"]["layers"][1]
        layer["module"], layer["class_name"] = module, name
        parts["config.json"] = json.dumps(config).encode()

    return change


@pytest.fixture(scope="module")
def data(trained: Path) -> bytes:
    return trained.read_bytes()


def test_the_same_model_gives_the_same_bytes_at_any_time(tmp_path: Path, data: bytes) -> None:
    model = open_model(data)
    files = [tmp_path / "deep" / "one.keras", tmp_path / "two.keras"]
    for file in files:
        save_model(model, file)

    assert files[0].read_bytes() == files[1].read_bytes()
    with zipfile.ZipFile(files[0]) as archive:
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("keras.layers", "Lambda"),
        ("keras.layers", "TFSMLayer"),
        ("builtins", "eval"),
        ("os", "system"),
        ("subprocess", "Popen"),
        ("keras.src.utils.file_utils", "get_file"),
        (None, "NoSuchThing"),
    ],
)
def test_descriptions_that_name_other_things_are_refused(
    data: bytes, module: str | None, name: str
) -> None:
    with pytest.raises(InvalidInput, match="not a model file that Annotator wrote"):
        open_model(rewritten(data, with_layer(module, name)))


class Trap:
    opened = False

    def __reduce__(self) -> tuple[Callable[..., None], tuple[()]]:
        return Trap.spring, ()

    @staticmethod
    def spring() -> None:
        Trap.opened = True


@pytest.mark.parametrize(
    "foreign",
    [
        b"",
        b"PK",
        b"\x89HDF\r\n\x1a\n" + bytes(100),
        pickle.dumps({"weights": 1}),
        pickle.dumps(Trap()),
        b"not a model" * 100,
    ],
)
def test_other_files_are_refused_and_never_unpickled(foreign: bytes) -> None:
    with pytest.raises(InvalidInput, match="not a model file that Annotator wrote"):
        load_model(foreign)
    assert not Trap.opened


def test_damage_is_refused(data: bytes) -> None:
    changes: list[Callable[[dict[str, bytes]], None]] = [
        lambda parts: parts.update({"config.json": b"{"}),
        lambda parts: parts.update({"config.json": b"[]"}),
        lambda parts: parts.update({"config.json": b"[" * 100_000}),
        lambda parts: parts.update({"model.weights.h5": b"nonsense"}),
        lambda parts: parts.update({"model.weights.h5": parts["model.weights.h5"][:2000]}),
        lambda parts: parts.update({"../outside": b"x"}),
        lambda parts: parts.pop("model.weights.h5") and None,
    ]
    for change in changes:
        with pytest.raises(InvalidInput):
            load_model(rewritten(data, change))
    with pytest.raises(InvalidInput):
        load_model(data[: len(data) // 2])
    middle = len(data) // 2
    with pytest.raises(InvalidInput):
        load_model(data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :])


def test_a_file_that_unpacks_to_too_much_is_refused(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_files, "LARGEST", 1000)
    with pytest.raises(InvalidInput, match="too large"):
        open_model(data)


def test_a_keras_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    inputs = keras.Input((48, 48, 1))
    outputs = keras.layers.Dense(8)(keras.layers.Flatten()(inputs))
    save_model(keras.Model(inputs, outputs), tmp_path / "other.keras")

    with pytest.raises(InvalidInput, match="not a model file that Annotator wrote"):
        load_model(tmp_path / "other.keras")


def test_a_missing_file_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        load_model(tmp_path / "missing.keras")


def test_a_save_that_fails_leaves_the_old_file(
    tmp_path: Path, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "model.keras"
    out.write_bytes(b"old")
    monkeypatch.setattr(model_files.os, "fsync", lambda _: (_ for _ in ()).throw(OSError("full")))

    with pytest.raises(OSError, match="full"):
        save_model(open_model(data), out)

    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]
    assert out.read_bytes() == b"old"
