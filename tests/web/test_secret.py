from pathlib import Path

from annotator.web.secret import read_secret


def test_the_secret_outlives_a_restart_and_is_private(tmp_path: Path) -> None:
    first = read_secret(tmp_path)
    assert read_secret(tmp_path) == first
    assert len(first) == 64
    assert [path.name for path in tmp_path.iterdir()] == ["web.key"]
    assert (tmp_path / "web.key").stat().st_mode & 0o777 == 0o600


def test_every_installation_has_its_own(tmp_path: Path) -> None:
    assert read_secret(tmp_path / "a") != read_secret(tmp_path / "b")
