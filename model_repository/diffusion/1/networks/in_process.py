"""Networks opened in this process, each by the code that lies with its files: `network.py` in its model's folder."""

import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

from networks import Network, NetworkError, OpenNetwork
from networks.arrays import HOST, Array, Arrays


def open_networks(repository: Path, names: Iterable[str]) -> dict[str, OpenNetwork]:
    """The networks by name, each of the latest version of its model, as Triton would take it. Raises NetworkError."""
    return {name: InProcessNetwork(name, latest_version(repository / name)) for name in names}


def latest_version(model: Path) -> Path:
    """The folder of the version of `model` that Triton serves by default. Raises NetworkError."""
    versions = [folder for folder in model.glob("*") if folder.name.isdecimal()]
    if not versions:
        raise NetworkError(f"{model.name}: {model} has no version, such as 1: write the repository again")
    return max(versions, key=lambda folder: int(folder.name))


class InProcessNetwork:
    """A `Network` whose engine is in this process, and the `arrays` that it takes and returns."""

    def __init__(self, name: str, folder: Path) -> None:
        """Open the network in `folder`, a version of its model. Raises NetworkError."""
        self._name = name
        try:
            self._call, self.arrays = _open(name, folder)
        except Exception as reason:
            raise NetworkError(f"{name}: {reason}") from reason

    def __call__(self, **inputs: Array) -> dict[str, Array]:
        """The outputs by name. Raises NetworkError."""
        try:
            return self._call(**inputs)
        except Exception as reason:
            raise NetworkError(f"{self._name}: {type(reason).__name__}: {reason}") from reason


def _open(name: str, folder: Path) -> tuple[Network, Arrays]:
    """What `open_network` of the network's own code returns, and `open_arrays`, by default NumPy's."""
    sys.path.append(str(folder))  # as Triton does for a Python model
    spec = importlib.util.spec_from_file_location(f"{name}_network", folder / "network.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.open_network(), module.open_arrays() if hasattr(module, "open_arrays") else HOST
