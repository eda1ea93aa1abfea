"""The way in by a command: what it is given, and every way in which it can fail."""

import base64
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from annotator.core.errors import AnnotatorError, InvalidInput, Locked
from annotator.vault import collect_ways, create_vault, open_vault
from annotator.vault.kms import MOST_BYTES, KmsCommand
from annotator.vault.slots import KMS, make_slot, open_slot

PROGRAM = Path(__file__).parent / "kms_program.py"
SECRET = bytes(range(32))


@pytest.fixture
def service(tmp_path: Path) -> Path:
    key = tmp_path / "service-key"
    key.write_text(os.urandom(32).hex())
    return key


def line_of(service: Path) -> str:
    return shlex.join([sys.executable, str(PROGRAM), str(service)])


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], KmsCommand]:
    """Makes a command of a shell script's text."""

    def make(text: str, **fields: float) -> KmsCommand:
        path = tmp_path / "script.sh"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o700)
        return KmsCommand((str(path),), **fields)

    return make


def test_a_real_program_wraps_and_unwraps(service: Path) -> None:
    command = KmsCommand.parse(line_of(service))
    wrapped = command.wrap(SECRET)
    assert SECRET not in wrapped
    assert command.unwrap(wrapped) == SECRET
    assert wrapped != command.wrap(SECRET)


def test_a_vault_opens_by_it_and_calls_it_once_per_opening(service: Path, tmp_path: Path) -> None:
    vault, code = create_vault(tmp_path / "data", kms=line_of(service))
    calls = Path(f"{service}.calls")
    assert calls.read_text().split() == ["wrap", "unwrap"]
    calls.unlink()
    opened = open_vault(tmp_path / "data", kms=line_of(service))
    key = opened.create_key("anna")
    for _ in range(20):
        opened.seal_blob(subject="anna", key=key, kind="crop", data=b"face")
    opened.sign("log", b"x")
    ((_, key),) = opened.rotate([("anna", key)])
    assert calls.read_text().split() == ["unwrap"]
    assert opened.public_key("log") == vault.public_key("log")
    by_code = open_vault(tmp_path / "data", recovery_code=code)
    assert by_code.public_key("log") == vault.public_key("log")


def test_no_key_is_an_argument_or_in_the_environment(
    service: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANNOTATOR_PASSPHRASE", "never for others")
    monkeypatch.setenv("AWS_PROFILE", "its own")
    seen: list[str] = []
    call = KmsCommand._call

    def remember(self: KmsCommand, verb: str, data: bytes) -> bytes:
        answer = call(self, verb, data)
        seen.extend(f(each) for each in (data, answer) for f in (bytes.hex, encode))
        return answer

    monkeypatch.setattr(KmsCommand, "_call", remember)
    create_vault(tmp_path / "data", kms=line_of(service))
    told = Path(f"{service}.seen").read_text()
    assert len(seen) == 8
    assert not [text for text in seen if text in told]
    assert "never for others" not in told
    assert "'AWS_PROFILE': 'its own'" in told
    ring = (tmp_path / "data" / "keys" / "ring.json").read_text()
    assert seen[0] not in ring  # the secret that was wrapped


def encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_the_ring_is_worth_nothing_without_the_service(service: Path, tmp_path: Path) -> None:
    create_vault(tmp_path / "data", kms=line_of(service))
    other = tmp_path / "other-key"
    other.write_text(os.urandom(32).hex())
    with pytest.raises(Locked, match="failed with exit code 1"):
        open_vault(tmp_path / "data", kms=line_of(other))


TROUBLES = {
    "exit code": ("exit 3", "failed with exit code 3"),
    "exit code after an answer": ("echo AAAA; exit 1", "failed with exit code 1"),
    "a signal": ("kill -9 $$", "failed with exit code -9"),
    "nothing": ("cat >/dev/null", "something else than Base64"),
    "garbage": ("cat >/dev/null; echo '*** hello'", "something else than Base64"),
    "half of it": ("cat >/dev/null; printf AAAAA", "something else than Base64"),
    "binary": ("head -c 300 /dev/urandom", "something else than Base64"),
    "too much": ("yes AAAA", "more than 64 KiB"),
    "closed doors": ("exec 0<&- 1>&-; exit 0", "something else than Base64"),
}


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("verb", ["wrap", "unwrap"])
def test_every_failure_is_one_sentence_without_a_key(
    script: Callable[..., KmsCommand], trouble: str, verb: str, caplog: pytest.LogCaptureFixture
) -> None:
    text, sentence = TROUBLES[trouble]
    command = script(text)
    with pytest.raises(Locked) as caught:
        getattr(command, verb)(SECRET)
    assert sentence in caught.value.message
    assert f"'{verb}'" in caught.value.message
    everything = f"{caught.value!r} {caught.value.__cause__!r} {caplog.text}"
    assert SECRET.hex() not in everything
    assert encode(SECRET) not in everything


@pytest.mark.parametrize("program", ["/nowhere/at-all", "/etc/passwd", "/"])
def test_a_program_that_cannot_be_run_says_so(program: str) -> None:
    with pytest.raises(Locked, match="cannot be started") as caught:
        KmsCommand((program,)).wrap(SECRET)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "text", ["sleep 30", 'cat >/dev/null; sleep 30 & echo $! > "$0.pid"; exit 0']
)
def test_a_program_that_hangs_is_ended_with_all_that_it_started(
    script: Callable[..., KmsCommand], text: str, tmp_path: Path
) -> None:
    started = time.monotonic()
    with pytest.raises(Locked, match="did not answer within 1 seconds"):
        script(text, seconds=0.6).wrap(SECRET)
    assert time.monotonic() - started < 10
    left = tmp_path / "script.sh.pid"
    if left.exists():
        time.sleep(0.1)
        listed = subprocess.run(
            ["ps", "-o", "stat=", "-p", left.read_text().strip()],
            capture_output=True,
            text=True,
            check=False,
        )
        assert listed.stdout.strip() in {"", "Z"}


def test_what_the_program_says_of_itself_reaches_nobody(
    script: Callable[..., KmsCommand], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Locked):
        script('read line; echo "key is $line" >&2; exit 1').wrap(SECRET)
    assert capfd.readouterr() == ("", "")


def test_a_program_that_does_not_wrap_is_refused(script: Callable[..., KmsCommand]) -> None:
    with pytest.raises(Locked, match="does not wrap"):
        script("cat").wrap(SECRET)


def test_a_program_that_does_not_give_back_is_refused_at_once(
    script: Callable[..., KmsCommand], tmp_path: Path
) -> None:
    script(f"cat >/dev/null; echo {encode(b'always the same' * 3)}")
    with pytest.raises(Locked, match="give back"):
        create_vault(tmp_path / "data", kms=str(tmp_path / "script.sh"))
    assert not (tmp_path / "data" / "keys" / "ring.json").exists()


def test_an_answer_may_be_broken_into_lines(script: Callable[..., KmsCommand]) -> None:
    command = script("cat >/dev/null; printf 'AAEC\\nAwQF\\r\\n\\n'")
    assert command.unwrap(b"x") == bytes(range(6))


def test_the_largest_answer_is_taken(script: Callable[..., KmsCommand]) -> None:
    count = MOST_BYTES // 4 - 1
    command = script(f"cat >/dev/null; head -c {count * 3} /dev/zero | base64 -w0")
    assert command.unwrap(b"x") == bytes(count * 3)


def test_the_command_line_is_split_but_nothing_in_it_is_run(tmp_path: Path) -> None:
    command = KmsCommand.parse(f"/bin/echo '$(touch {tmp_path}/x)' ; rm -rf `ls`")
    assert command.words == ("/bin/echo", f"$(touch {tmp_path}/x)", ";", "rm", "-rf", "`ls`")
    with pytest.raises(Locked):
        command.wrap(SECRET)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("line", ["", "   ", "program 'no end"])
def test_a_line_that_is_none_is_refused(line: str) -> None:
    with pytest.raises(InvalidInput, match="name a program"):
        KmsCommand.parse(line)


def test_a_swapped_or_damaged_slot_opens_nothing(service: Path) -> None:
    (way,) = collect_ways(kms=line_of(service))
    root = os.urandom(32)
    slot = make_slot(way, root=root, install="one")
    assert slot["kind"] == KMS
    assert open_slot(slot, way, install="one") == root
    assert open_slot(slot, way, install="two") is None
    other = make_slot(way, root=os.urandom(32), install="one")
    for change in ({"wrapped": other["wrapped"]}, {"id": other["id"]}, {"salt": other["salt"]}):
        assert open_slot(slot | change, way, install="one") is None
    assert open_slot(slot | {"wrapped_secret": other["wrapped_secret"]}, way, install="one") is None
    assert open_slot(slot | {"wrapped_secret": "zz"}, way, install="one") is None


def test_a_service_that_is_down_does_not_shut_the_other_ways(service: Path, tmp_path: Path) -> None:
    _, code = create_vault(tmp_path / "data", kms=line_of(service), passphrase="a good long one")
    service.unlink()
    assert open_vault(tmp_path / "data", kms=line_of(service), passphrase="a good long one")
    assert open_vault(tmp_path / "data", kms=line_of(service), recovery_code=code)
    with pytest.raises(AnnotatorError, match="failed with exit code"):
        open_vault(tmp_path / "data", kms=line_of(service))


def test_the_ring_remembers_only_what_the_service_gave(service: Path, tmp_path: Path) -> None:
    create_vault(tmp_path / "data", kms=line_of(service))
    ring = json.loads((tmp_path / "data" / "keys" / "ring.json").read_text())
    (slot,) = [slot for slot in ring["slots"] if slot["kind"] == "kms"]
    assert set(slot) == {"id", "kind", "label", "created", "salt", "wrapped_secret", "wrapped"}
