"""k-diffusion's sampling functions without the rest of the package, which asks for libraries that they do not use."""

import importlib.util
import sys
from types import ModuleType
from unittest import mock


def load_sampling() -> ModuleType:
    """Its module `sampling`, loaded from the installed package's file."""
    package = importlib.util.find_spec("k_diffusion")
    assert package is not None
    assert package.submodule_search_locations is not None
    path = f"{package.submodule_search_locations[0]}/sampling.py"
    spec = importlib.util.spec_from_file_location("k_diffusion.sampling", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    absent = {name: mock.MagicMock() for name in ("k_diffusion", "k_diffusion.utils", "torchdiffeq", "torchsde")}
    absent["k_diffusion"].utils = absent["k_diffusion.utils"]
    absent["k_diffusion.utils"].append_dims = lambda x, ndim: x[(...,) + (None,) * (ndim - x.ndim)]
    with mock.patch.dict(sys.modules, absent):
        spec.loader.exec_module(module)
    return module
