"""The launcher's own folder, and the removal of what killed launchers have left.

A launcher that is killed cannot clear away. So each holds a lock in /dev/shm for as long as it lives, and the next one
removes the folder and the shared memory of those whose lock is free, and ends what still runs from that folder: of some
80 killed servers, the process of a model of four hung in Triton's own code in place of ending with them.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from processes import end_processes

SHARED_MEMORY = Path("/dev/shm")
LOCKS = "triton_diffusion_lock_"
PLAIN = ("/tmp", "/dev/shm")
"""Folders for the workspace where the environment's has a name that Triton's stubs cannot be started with."""


@contextlib.contextmanager
def workspace() -> Iterator[Path]:
    """A folder that is gone afterwards. Its name also begins the names of the shared memory of the models."""
    _remove_leftovers()
    folder = temporary_folder() / f"triton_diffusion_{os.getpid()}_{secrets.token_hex(4)}"
    with _held_lock(folder.name) as lock:
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            _remove(folder.name, folder.parent)
            lock.unlink(missing_ok=True)


def temporary_folder() -> Path:
    """The environment's, unless its name has a space or is not ASCII: stubs are started by a shell's command line."""
    folder = tempfile.gettempdir()
    if folder.isascii() and not any(character in folder for character in " \t\n'\"\\$`"):
        return Path(folder)
    return Path(next(plain for plain in PLAIN if os.access(plain, os.W_OK | os.X_OK)))


def remove_shared_memory(prefix: str) -> None:
    for region in SHARED_MEMORY.glob(f"{prefix}*"):
        region.unlink(missing_ok=True)


@contextlib.contextmanager
def _held_lock(name: str) -> Iterator[Path]:
    lock = SHARED_MEMORY / f"{LOCKS}{name}"
    new = SHARED_MEMORY / f"new_{lock.name}"
    with new.open("x") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        new.rename(lock)  # so that it is never there without being held
        yield lock


def _remove_leftovers() -> None:
    for lock in SHARED_MEMORY.glob(f"{LOCKS}*"):
        with contextlib.suppress(OSError), lock.open("r+") as file:  # held by a launcher that runs, or another user's
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(lock.name.removeprefix(LOCKS), temporary_folder())
            lock.unlink(missing_ok=True)


def _remove(name: str, parent: Path) -> None:
    end_processes(f"/{name}/")
    shutil.rmtree(parent / name, ignore_errors=True)
    remove_shared_memory(f"{name}_")
