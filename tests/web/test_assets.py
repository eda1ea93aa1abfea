from pathlib import Path

from annotator.web.assets import find_folder, hash_tree


def test_the_version_follows_names_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "css").mkdir()
    (tmp_path / "css" / "a.css").write_text("a {}")
    first = hash_tree(tmp_path)
    (tmp_path / "css" / "a.css").write_text("b {}")
    second = hash_tree(tmp_path)
    (tmp_path / "css" / "a.css").rename(tmp_path / "css" / "b.css")
    assert len({first, second, hash_tree(tmp_path)}) == 3


def test_the_folders_are_found_in_a_checkout() -> None:
    assert (find_folder("templates") / "base.html").is_file()
    assert (find_folder("static") / "css" / "main.css").is_file()
