"""The engine: which batches it runs, that it compiles before the first request and never after."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch._dynamo.utils import counters

from export.runtimes.torch.engine import CompileError, Engine, divide

CPU = torch.device("cpu")
ROWS = {"sample": torch.zeros(4, 6, 6), "timestep": torch.zeros(())}


class Small(nn.Module):
    """Has the denoiser's kinds of inputs and two outputs, and compiles in seconds."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.SiLU(), nn.Conv2d(8, 4, 3, padding=1))

    def forward(self, sample: torch.Tensor, timestep: torch.Tensor) -> dict[str, torch.Tensor]:
        output = self.network(sample) * timestep[:, None, None, None]
        return {"model_output": output, "mean": output.mean(dim=(1, 2, 3))}


class Unseen(Small):
    """Compiled by one test only: what a process has compiled before it does not write again."""

    def forward(self, sample: torch.Tensor, timestep: torch.Tensor) -> dict[str, torch.Tensor]:
        return {name: 3 * output for name, output in super().forward(sample, timestep).items()}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def feed(rows: int, side: int = 6) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(rows)
    sample = rng.standard_normal((rows, 4, side, side), np.float32)
    return {"sample": sample, "timestep": np.arange(1, rows + 1, dtype=np.float32)}


def check(outputs: dict[str, torch.Tensor], feed: dict[str, np.ndarray], every: int = 1, atol: float = 1e-5) -> None:
    """All outputs against the module's own for `feed`, of which each `every`th row was asked for."""
    with torch.no_grad():
        expected = Small()(**{name: torch.from_numpy(array) for name, array in feed.items()})
    assert [*outputs] == [*expected]
    for name, output in outputs.items():
        np.testing.assert_allclose(output.cpu(), expected[name][::every], atol=atol)


@given(rows=st.integers(1, 32), batches=st.sets(st.integers(1, 32), min_size=1, max_size=6))
def test_every_row_finds_a_place_and_no_call_is_empty(rows: int, batches: set[int]) -> None:
    run = divide(rows, tuple(sorted(batches)))
    assert set(run) <= batches
    assert sum(run) - max(run) < rows <= sum(run)


@pytest.mark.parametrize(
    ("rows", "run"),
    [(1, (1,)), (2, (2,)), (3, (4,)), (6, (4, 2)), (7, (8,)), (10, (8, 2)), (16, (8, 8)), (17, (8, 8, 1))],
)
def test_rows_are_neither_padded_far_nor_cut_small(rows: int, run: tuple[int, ...]) -> None:
    assert divide(rows, (1, 2, 4, 8)) == run


def test_compiled_is_what_eager_is_and_nothing_is_compiled_later() -> None:
    engine = Engine(Small(), CPU)
    engine.compile(ROWS, [1, 3])
    graphs = counters["stats"]["unique_graphs"]
    assert graphs == 2
    for rows in (3, 1, 2, 4, 7, 1):
        check(engine(**feed(rows)), feed(rows))
    # A row cut from a larger batch has other strides.
    check(engine(**{name: array[::5] for name, array in feed(5).items()}), feed(5), every=5)
    # Another size runs uncompiled.
    check(engine(**feed(2, side=8)), feed(2, side=8))
    assert counters["stats"]["unique_graphs"] == graphs


def test_an_answer_outlives_the_next_call() -> None:
    engine = Engine(Small(), CPU)
    engine.compile(ROWS, [2])
    first = engine(**feed(2))
    engine(**{name: -array for name, array in feed(2).items()})
    check(first, feed(2))


def test_the_next_start_takes_what_the_last_one_compiled(tmp_path: Path) -> None:
    Engine(Unseen(), CPU).compile(ROWS, [2])
    assert any((tmp_path / "compiled").rglob("*.so"))
    torch._dynamo.reset()
    counters.clear()
    Engine(Unseen(), CPU).compile(ROWS, [2])
    assert counters["aot_autograd"]["autograd_cache_hit"] == 1
    assert counters["inductor"]["fxgraph_cache_miss"] == 0


def test_a_missing_compiler_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("/missing/g++",))
    with pytest.raises(CompileError) as caught:
        Engine(Small(), CPU).compile(ROWS, [2])
    assert "\n" not in str(caught.value)
    assert "batch 2 cannot be compiled (" in str(caught.value)
    assert "install g++" in str(caught.value)


def test_the_outputs_are_plain_and_on_the_device() -> None:
    for output in Engine(Small(), CPU)(**feed(2)).values():
        assert output.device == CPU
        assert output.is_contiguous()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu() -> None:
    engine = Engine(Small(), torch.device("cuda:0"))
    engine.compile({name: row.cuda() for name, row in ROWS.items()}, [1, 3])
    for rows in (3, 1, 2, 4, 7, 1):
        check(engine(**feed(rows)), feed(rows), atol=1e-2)
