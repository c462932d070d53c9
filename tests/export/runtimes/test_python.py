"""The Python model that runs a graph inside Triton, with Triton's module played by a few lines."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest


class FakeTensor:
    def __init__(self, name: str, array: np.ndarray) -> None:
        self._name, self._array = name, array

    def name(self) -> str:
        return self._name

    def as_numpy(self) -> np.ndarray:
        return self._array


@pytest.fixture
def model(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    triton: Any = ModuleType("triton_python_backend_utils")
    triton.Tensor = FakeTensor
    triton.TritonError = str
    triton.InferenceResponse = lambda output_tensors=(), error=None: SimpleNamespace(
        tensors=output_tensors, error=error
    )
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", triton)
    monkeypatch.syspath_prepend(repository / "text_encoder/1")  # as Triton does
    monkeypatch.delitem(sys.modules, "network", raising=False)
    spec = importlib.util.spec_from_file_location("engine", repository / "text_encoder/1/model.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.TritonPythonModel()
    model.initialize({})
    return model


def request(array: np.ndarray) -> SimpleNamespace:
    return SimpleNamespace(inputs=lambda: [FakeTensor("input_ids", array)])


def test_each_request_gets_its_answer_and_only_its_own_error(model: Any) -> None:
    good, bad = np.zeros((2, 77), np.int32), np.zeros((2, 76), np.int32)
    first, failed, last = model.execute([request(good), request(bad), request(good[:1])])
    assert [tensor.name() for tensor in first.tensors] == ["context"]
    assert first.tensors[0].as_numpy().shape == (2, 77, 32)
    assert last.tensors[0].as_numpy().shape == (1, 77, 32)
    assert "input_ids" in failed.error
    assert first.error is last.error is None
