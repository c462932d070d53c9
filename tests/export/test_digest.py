"""Digests follow names and contents, and not where the files lie or in which order they are named."""

import shutil
from pathlib import Path

from export.digest import digest


def test_a_digest_follows_names_and_contents(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    for name in ("a", "b"):
        (first / name).write_text(name)
    shutil.copytree(first, second)
    original = digest(first, [first / "a", first / "b"])
    assert digest(second, [second / "b", second / "a"]) == original
    (second / "b").write_text("c")
    assert digest(second, second.iterdir()) != original
    (second / "b").write_text("b")
    (second / "b").rename(second / "c")
    assert digest(second, second.iterdir()) != original
