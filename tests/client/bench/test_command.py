"""`triton-diffusion bench` without a server: help, and one line for each error."""

import pytest
from triton_diffusion.cli import app
from typer.testing import CliRunner


def run(*arguments: str):
    return CliRunner().invoke(app, ["bench", *arguments], prog_name="triton-diffusion", env={"COLUMNS": "120"})


def test_help():
    result = run("--help")
    assert result.exit_code == 0
    assert "--baseline" in result.output


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--url", "http://localhost:8000"], 2, "bench needs gRPC without TLS"),
        (["--url", "grpcs://localhost:8001"], 2, "bench needs gRPC without TLS"),
        (["--concurrency", "1,many"], 2, "concurrency is '1,many': use numbers from 1 to 64"),
        (["--concurrency", "1,99"], 2, "use numbers from 1 to 64"),
        (["--concurrency", "0"], 2, "use numbers from 1 to 64"),
    ],
)
def test_an_option_that_is_not_allowed(arguments, code, message):
    result = run(*arguments)
    assert result.exit_code == code
    assert result.stderr.startswith("triton-diffusion: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_nothing_listens(unused_url, monkeypatch, tmp_path, analyzer):
    monkeypatch.setattr("triton_diffusion.cli.bench._cache", lambda: analyzer.binary.parent)
    result = run("--url", unused_url, "--metrics-url", unused_url, "--output", str(tmp_path / "bench"))
    assert result.exit_code == 3
    assert result.stderr.splitlines()[-1].startswith(f"triton-diffusion: no metrics at {unused_url}")
    assert not (tmp_path / "bench").exists()


def test_no_matplotlib(monkeypatch):
    monkeypatch.setattr("triton_diffusion.cli.bench.find_spec", lambda name: None)
    result = run()
    assert result.exit_code == 2
    assert "pip install 'triton-diffusion[bench]'" in result.stderr
