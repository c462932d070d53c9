"""The command line, `python -m export`, as a user sees it."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

import export.__main__ as cli
from export.specification import Network


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def check_error(result: Result, says: str, code: int = 2) -> None:
    assert result.exit_code == code
    assert result.stdout == ""
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("error: ")


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.repository.write_graph", lambda *arguments: arguments[2] / "model.onnx")
    monkeypatch.setattr("export.repository.check_graph", lambda *args: None)


@pytest.mark.usefixtures("fast", "hand_written")
def test_success_is_one_line(tiny_folder: Path, tmp_path: Path) -> None:
    result = run(tiny_folder, "--repository", tmp_path / "models", "--runtime", "onnxruntime", "--height", "32:64")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert "tiny at 32:64x64 pixels in FP32 for the onnxruntime runtime" in result.stdout
    assert (tmp_path / "models/denoiser/config.pbtxt").read_text().count("-1") == 2


@pytest.mark.usefixtures("hand_written")
def test_plans_are_fp16_and_have_no_configuration_if_triton_lacks_a_backend(tiny_folder: Path, tmp_path: Path) -> None:
    result = run(tiny_folder, "--repository", tmp_path / "models", "--runtime", "tensorrt-rtx", "--sm", "86")
    assert result.exit_code == 0, result.stderr
    assert "tiny at 64x64 pixels in FP16 for the tensorrt-rtx runtime" in result.stdout
    for model in ("text_encoder", "denoiser", "vae_decoder"):
        files = [path.relative_to(tmp_path / "models" / model) for path in (tmp_path / "models" / model).rglob("*.*")]
        assert sorted(map(str, files)) == ["1/model.plan", "1/plan.json"]


@pytest.mark.usefixtures("fast", "hand_written")
def test_a_plan_that_cannot_be_built(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_graph(network: Network, module: object, folder: Path, precision: object) -> Path:
        (folder / "model.onnx").write_text("no graph")
        return folder / "model.onnx"

    monkeypatch.setattr("export.repository.write_graph", no_graph)
    result = run(tiny_folder, "--repository", tmp_path / "models", "--runtime", "tensorrt-rtx", "--sm", "86")
    check_error(result, "text_encoder: ")
    assert list(tmp_path.iterdir()) == []


def test_not_a_checkpoint(tmp_path: Path) -> None:
    check_error(run(tmp_path), "has no model_index.json")


def test_a_size_that_does_not_fit(tiny_folder: Path) -> None:
    check_error(run(tiny_folder, "--height", "65"), "multiples of 8 pixels")


@pytest.mark.usefixtures("hand_written")
def test_a_corrupt_weight_file(broken_folder: Path, tmp_path: Path) -> None:
    (broken_folder / "text_encoder/model.safetensors").write_bytes(b"garbage" * 100)
    check_error(run(broken_folder, "--repository", tmp_path / "models"), "text_encoder cannot be loaded")
    assert not (tmp_path / "models").exists()


@contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """The operating system refuses to write a file past `size` bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.usefixtures("hand_written")
def test_a_full_disk(tiny_folder: Path, tmp_path: Path) -> None:
    with files_end_at(50_000):  # the text encoder's weights need more
        result = run(tiny_folder, "--repository", tmp_path / "models")
    check_error(result, "no space left")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("fast", "hand_written")
def test_a_folder_that_must_not_be_written(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise PermissionError(13, "Permission denied", "/models/denoiser")

    monkeypatch.setattr("export.repository.install", refuse)
    result = run(tiny_folder, "--repository", tmp_path / "models")
    check_error(result, "/models/denoiser: Permission denied")


@pytest.mark.usefixtures("hand_written")
def test_an_interrupt(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("export.repository.write_graph", interrupt)
    check_error(run(tiny_folder, "--repository", tmp_path / "models"), "interrupted", code=130)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [(), ("folder", "--runtime", "abacus"), ("folder", "--colour", "red")])
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2
