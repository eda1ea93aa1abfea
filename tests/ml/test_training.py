from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotator.core.errors import Cancelled, InvalidInput
from annotator.ml.calibration import softmax
from annotator.ml.classifier import load_model
from annotator.ml.model_files import write_model
from annotator.ml.network import standardise
from annotator.ml.training import Progress, TrainingOptions, TrainingSet, train_cnn

MakeSet = Callable[..., TrainingSet]


def run(
    train: TrainingSet, valid: TrainingSet, out: Path, options: TrainingOptions, **more: Any
) -> list[Progress]:
    seen: list[Progress] = []
    arguments: dict[str, Any] = {"start": None, "on_progress": seen.append} | more
    write_model(train_cnn(train, valid, options=options, **arguments), out)
    return seen


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, make_set: MakeSet, tiny_options: TrainingOptions
) -> tuple[Path, list[Progress]]:
    """The reference of what two epochs give, undisturbed."""
    out: Path = tmp_path_factory.mktemp("whole") / "model.keras"
    return out, run(make_set(40), make_set(16, seed=1), out, tiny_options)


def test_it_learns_and_its_model_predicts(trained: Path, make_set: MakeSet) -> None:
    test = make_set(40, seed=2)

    probabilities, embeddings = load_model(trained).predict(test.images)

    assert (probabilities.argmax(axis=1) == test.targets.argmax(axis=1)).mean() > 0.9
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert embeddings.shape == (40, 8)
    assert [path.name for path in trained.parent.iterdir()] == ["model.keras"]


def test_it_tells_how_far_it_is(whole: tuple[Path, list[Progress]]) -> None:
    ends = [progress for progress in whole[1] if progress.valid_loss is not None]

    assert [progress.epoch for progress in ends] == [1, 2]
    for progress in ends:
        assert progress.epochs == 2
        assert progress.step == progress.steps == 2
        assert progress.loss > 0
        assert 0 <= progress.accuracy <= 1
        assert progress.valid_accuracy is not None


def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(
    tmp_path: Path,
    make_set: MakeSet,
    tiny_options: TrainingOptions,
    whole: tuple[Path, list[Progress]],
) -> None:
    train, valid = make_set(40), make_set(16, seed=1)
    out, checkpoint = tmp_path / "parts.keras", tmp_path / "checkpoint"
    stops = iter([False, True])

    with pytest.raises(Cancelled):
        run(
            train,
            valid,
            out,
            tiny_options,
            checkpoint=checkpoint,
            should_stop=lambda: next(stops),
        )
    assert not out.exists()
    assert load_model(checkpoint / "best.keras").embedding_size == 8
    seen = run(train, valid, out, tiny_options, checkpoint=checkpoint)

    assert seen[0].epoch == 2
    assert out.read_bytes() == whole[0].read_bytes()


def test_another_seed_gives_another_model_and_silent_faces_teach_nothing(
    tmp_path: Path,
    make_set: MakeSet,
    tiny_options: TrainingOptions,
    whole: tuple[Path, list[Progress]],
) -> None:
    train, valid, extra = make_set(40), make_set(16, seed=1), make_set(8, seed=5)
    no_votes = np.zeros((8, 8), np.float32)
    more = TrainingSet(
        np.concatenate([train.images, extra.images, extra.images]),
        np.concatenate([train.targets, extra.targets, no_votes]),
        np.concatenate([train.weights, np.zeros(8), np.ones(8)]).astype(np.float32),
    )

    run(more, valid, tmp_path / "same.keras", tiny_options)
    run(train, valid, tmp_path / "other.keras", replace(tiny_options, seed=4))

    assert (tmp_path / "same.keras").read_bytes() == whole[0].read_bytes()
    assert (tmp_path / "other.keras").read_bytes() != whole[0].read_bytes()


def test_fine_tuning_starts_from_what_the_model_knows(
    tmp_path: Path, make_set: MakeSet, tiny_options: TrainingOptions, trained: Path
) -> None:
    options = replace(tiny_options, epochs=1, augment=False, fine_tune=True)

    tuned = run(make_set(32), make_set(32, seed=1), tmp_path / "m.keras", options, start=trained)

    assert tuned[-1].valid_accuracy == 1
    assert load_model(tmp_path / "m.keras").digest != load_model(trained).digest


def test_it_ends_early_when_validation_no_longer_improves(
    tmp_path: Path, make_set: MakeSet, tiny_options: TrainingOptions
) -> None:
    valid = make_set(16, seed=1)
    upside_down = replace(valid, targets=valid.targets[::-1].copy())
    options = replace(tiny_options, epochs=60, patience=1, augment=False)

    seen = run(make_set(40), upside_down, tmp_path / "m.keras", options)

    assert seen[-1].epoch < 60


def test_a_time_limit_ends_a_run_that_begins_with_smaller_pictures(
    tmp_path: Path, make_set: MakeSet, tiny_options: TrainingOptions
) -> None:
    options = replace(tiny_options, epochs=100_000, hours=5e-4, small_share=0.5, patience=0)

    seen = run(make_set(40), make_set(16, seed=1), tmp_path / "m.keras", options)

    assert seen[-1].epoch < 100_000
    assert load_model(tmp_path / "m.keras").predict(make_set(2).images).embeddings.shape == (2, 8)


@pytest.mark.parametrize("count", [0, 3, 15])
def test_too_few_faces_are_refused(
    tmp_path: Path, make_set: MakeSet, tiny_options: TrainingOptions, count: int
) -> None:
    with pytest.raises(InvalidInput, match=f"at least 16 faces; there are only {count}"):
        run(make_set(count), make_set(4), tmp_path / "m.keras", tiny_options)


def test_one_class_is_refused(
    tmp_path: Path, make_set: MakeSet, tiny_options: TrainingOptions
) -> None:
    train = make_set(32)
    one = replace(train, targets=np.tile(train.targets[:1], (32, 1)))
    with pytest.raises(InvalidInput, match="at least two different emotions"):
        run(one, make_set(4), tmp_path / "m.keras", tiny_options)


def test_nothing_to_validate_on_is_refused(
    tmp_path: Path, make_set: MakeSet, tiny_options: TrainingOptions
) -> None:
    with pytest.raises(InvalidInput, match="validate"):
        run(make_set(32), make_set(0), tmp_path / "m.keras", tiny_options)


def test_fine_tuning_without_a_model_is_refused(
    tmp_path: Path, make_set: MakeSet, tiny_options: TrainingOptions
) -> None:
    with pytest.raises(InvalidInput, match="model to start from"):
        run(make_set(32), make_set(4), tmp_path / "m.keras", replace(tiny_options, fine_tune=True))


@pytest.mark.parametrize(
    ("images", "targets", "weights", "message"),
    [
        (np.zeros((2, 48, 48), np.float32), np.ones((2, 8)), np.ones(2), "8-bit grey"),
        (np.zeros((2, 32, 32), np.uint8), np.ones((2, 8)), np.ones(2), "48 x 48"),
        (np.zeros((2, 48, 48), np.uint8), np.ones((2, 10)), np.ones(2), "8 columns"),
        (np.zeros((2, 48, 48), np.uint8), np.full((2, 8), np.nan), np.ones(2), "from 0 to 1"),
        (np.zeros((2, 48, 48), np.uint8), np.ones((2, 8)), np.ones(3), "as many"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    images: Any, targets: Any, weights: Any, message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        TrainingSet(images, targets, weights)


def test_standardising_outside_is_what_the_saved_model_does_inside(
    trained: Path, make_set: MakeSet
) -> None:
    model = load_model(trained)
    images = make_set(6, seed=9).images

    core = model.network.get_layer("core")
    logits = core([standardise(images)], training=False)[0].numpy()
    scaled = logits * model.network.get_layer("temperature").scale

    np.testing.assert_allclose(model.predict(images).probabilities, softmax(scaled), atol=1e-5)
