"""Export before a server starts, unless that has been done: containers and pods run this first.

    python -m export.cached CHECKPOINT --models /models --link /models/repository [options of python -m export]

The repository lies in a folder under --models whose name says what its content depends on: checkpoint, runtime,
precision, for TensorRT the GPU of this machine and the version, and last a digest of all the rest (the checkpoint's
files, the options, this program). What is there is used again. Of several processes that share --models one exports
and the others wait for it. --link leads the server there; it changes only when the folder is complete.
"""

import argparse
import fcntl
import hashlib
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from export.checkpoint.layout import checkpoint_name, find_family, find_folder
from export.digest import digest
from export.errors import ExportError
from export.plan.plans import choose_target
from export.runtime import USUAL_PRECISION, Precision, Runtime
from export.specification import HAND_WRITTEN_MODELS

ROOT = Path(__file__).parents[1]
EXPORT = (sys.executable, "-m", "export")
PROGRAM = (
    "export/**/*.py",
    *(f"model_repository/{model.name}/**/*.py" for model in HAND_WRITTEN_MODELS),
)
ENDING = (signal.SIGTERM, signal.SIGINT)
LIBRARIES = ("torch", "diffusers", "transformers", "tokenizers", "onnx", "onnxscript")


def parse_arguments(given: Sequence[str] | None = None) -> tuple[argparse.Namespace, list[str]]:
    """Our own arguments, and the options of the export."""
    parser = argparse.ArgumentParser(prog="python -m export.cached", allow_abbrev=False)
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="as for python -m export")
    parser.add_argument("--models", type=Path, required=True, metavar="DIR", help="where repositories are kept")
    parser.add_argument("--link", type=Path, required=True, help="the link that leads to the repository in the end")
    parser.add_argument("--runtime", type=Runtime, default=Runtime.PYTHON, choices=[*Runtime])
    parser.add_argument("--precision", type=Precision, choices=[*Precision])
    arguments, others = parser.parse_known_args(given)
    if any(option.startswith("--repository") for option in others):
        parser.error("--repository is chosen here: name the folder above it with --models")
    arguments.precision = arguments.precision or USUAL_PRECISION.get(arguments.runtime, Precision.FP32)
    return arguments, others


def folder_name(arguments: argparse.Namespace, options: Sequence[str]) -> str:
    """The name that tells the repository that is asked for from all others. Raises ExportError."""
    folder = find_folder(arguments.checkpoint)
    target = choose_target(Runtime.TENSORRT, sm=None) if arguments.runtime is Runtime.TENSORRT else None
    built_for = [str(target.gpu), target.version] if target else []
    name = checkpoint_name(arguments.checkpoint, folder)
    told = [name, arguments.runtime, arguments.precision, *built_for]
    libraries = [version(library) for library in LIBRARIES]
    files = [digest(folder, _checkpoint_files(folder)), digest(ROOT, _program_files())]
    rest = hashlib.sha256(repr([told, options, libraries, files]).encode()).hexdigest()
    return re.sub(r"[^\w.]+", "-", "-".join([*told, rest[:12]])).lower()


def _checkpoint_files(folder: Path) -> Iterator[Path]:
    yield from folder.glob("*.json")
    for component in find_family(folder).components:
        yield from (file for file in (folder / component).rglob("*") if file.is_file())


def _program_files() -> Iterator[Path]:
    for pattern in PROGRAM:
        yield from ROOT.glob(pattern)


def export_once(arguments: argparse.Namespace, options: Sequence[str]) -> None:
    """Let the link lead to the repository that is asked for, exported where it is not there.

    Raises ExportError and OSError; SystemExit where the export has failed and said why.
    """
    repository = arguments.models / folder_name(arguments, options)
    complete = Path(f"{repository}.complete")
    with Path(f"{repository}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if complete.exists():
            print(f"{repository} is there", flush=True)
        else:
            runs_in = [f"--runtime={arguments.runtime}", f"--precision={arguments.precision}"]
            _export(lock.fileno(), arguments.checkpoint, "--repository", str(repository), *runs_in, *options)
            complete.touch()
    _lead(arguments.link, repository)


def _export(lock: int, *arguments: str) -> None:
    # In a session of its own, so that Ctrl-C reaches us alone: told twice to end, it could not tidy up. It has the lock
    # too, so that nobody else exports before it has ended, even if we are killed.
    # A signal that comes before `process` is known would leave it running, so it waits until then.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    with subprocess.Popen(
        [*EXPORT, *arguments], start_new_session=True, pass_fds=[lock], preexec_fn=_heed_signals
    ) as process:
        try:
            _heed_signals()
            code = process.wait()
        except BaseException:
            process.terminate()
            raise
    if code:
        raise SystemExit(code)


def _heed_signals() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def _lead(link: Path, repository: Path) -> None:
    new = link.with_name(f".{link.name}-{secrets.token_hex(8)}")  # no process id: in a container each is 1
    new.symlink_to(os.path.relpath(repository.resolve(), link.parent.resolve()))
    new.replace(link)


def _stop(number: int, _: object) -> NoReturn:
    raise SystemExit(128 + number)


def main() -> None:
    for number in ENDING:
        signal.signal(number, _stop)
    try:
        export_once(*parse_arguments())
    except ExportError as error:
        raise SystemExit(_told(str(error))) from None
    except OSError as error:
        raise SystemExit(_told(f"{error.filename}: {error.strerror}")) from None


def _told(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
