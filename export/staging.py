"""Staging: parts of a folder are replaced all at once or not at all."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path


def staging_folder(target: Path) -> tempfile.TemporaryDirectory:
    """A temporary folder on `target`'s filesystem, gone when its `with` block ends, however it ends.

    It lies beside `target`, where a server that watches `target` does not see it; inside only where `target` is a
    mounted volume, because a rename cannot cross into one.
    """
    target = target.absolute()
    candidates = [target] if os.path.ismount(target) else target.parents
    return tempfile.TemporaryDirectory(
        prefix=f".{target.name}-", dir=next(folder for folder in candidates if folder.is_dir())
    )


def install(staging: Path, target: Path, entries: Sequence[str]) -> None:
    """Move `entries`, files or folders named relative to both, from `staging` into `target`.

    If anything interrupts it, `target` is put back as it was. What was replaced goes away with `staging`.
    """
    replaced = staging / ".replaced"
    try:
        for entry in entries:
            for folder in ((target / entry).parent, (replaced / entry).parent):
                folder.mkdir(parents=True, exist_ok=True)
            if (target / entry).exists():
                (target / entry).rename(replaced / entry)
            (staging / entry).rename(target / entry)
    except BaseException:
        for entry in entries:
            # Told from what lies where, because an interrupt can fall between any two moves.
            if not (staging / entry).exists() and (target / entry).exists():
                (target / entry).rename(staging / entry)
            if (replaced / entry).exists():
                (replaced / entry).rename(target / entry)
        raise
