"""The network beside this file, opened with PyTorch: on the GPU where there is one, else on the CPU.

`network.json` has its name, its precision, and the inputs and batches that it is to be compiled for.
"""

import json
import locale
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
THREADS = int(os.environ.get("TRITON_DIFFUSION_THREADS", "0"))
"""Of the CPU; 0: one a core."""
REQUIREMENTS = "`pip install -r requirements/torch.txt` there"

# Triton's Python has the locale C, in which PyTorch cannot read its own templates.
locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
if os.access(FOLDER, os.W_OK):  # else PyTorch takes its own temporary folder
    # What it compiles is there at the next start.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(FOLDER / "compiled"))
try:
    import torch
    from engine import Engine
    from modules import load_module
except ImportError as error:
    raise ImportError(f"the torch runtime lacks a package in the server's Python ({error}): {REQUIREMENTS}") from error

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
if THREADS:
    torch.set_num_threads(THREADS)
SETTINGS: dict[str, Any] = json.loads((FOLDER / "network.json").read_text())


def open_network() -> Callable[..., dict[str, Any]]:
    """The network, compiled, as a function of `open_arrays`'s arrays by name; each is a batch. On a GPU a call returns
    before it is done. One thread at a time may call it.
    """
    engine = open_engine(DEVICE)
    compile_engine(engine)
    return engine


def open_arrays() -> Any:
    """The arrays that the network takes and returns, for the loop, in whose process this is called."""
    from arrays import TorchArrays

    return TorchArrays(DEVICE)


def open_engine(device: torch.device) -> Engine:
    """The engine of the network, not compiled yet."""
    return Engine(load_module(SETTINGS["name"], FOLDER / "weights", SETTINGS["precision"]), device)


def compile_engine(engine: Engine) -> None:
    """Compile `engine` for the batches that it was exported for, if for any. Raises CompileError."""
    rows = {
        name: torch.zeros(tensor["shape"], dtype=getattr(torch, tensor["dtype"]))
        for name, tensor in SETTINGS["inputs"].items()
    }
    if SETTINGS["compile_batches"]:
        engine.compile(rows, SETTINGS["compile_batches"])
