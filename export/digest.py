"""Digests of files, by which one content is told from another."""

import hashlib
from collections.abc import Iterable
from pathlib import Path


def digest(folder: Path, files: Iterable[Path]) -> str:
    """The SHA-256 in hexadecimal digits of the names in `folder` and the contents of `files`, in any order."""
    total = hashlib.sha256()
    for path in sorted(files):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{path.relative_to(folder)} {content}\n".encode())
    return total.hexdigest()
