from annotator.core.emotions import EMOTION_NAMES, LABELS


def test_the_order_is_that_of_fer_plus() -> None:
    assert EMOTION_NAMES == (
        "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt",
    )  # fmt: skip


def test_keys_letters_and_shapes_tell_labels_apart() -> None:
    reserved = set("szvmfpu?")
    keys = [label.key for label in LABELS]
    letters = [label.letter for label in LABELS]
    assert len(set(keys)) == len(set(letters)) == len({label.shape for label in LABELS}) == 10
    assert not reserved & {*keys, *letters}
