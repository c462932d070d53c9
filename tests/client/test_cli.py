"""The command line without a server: help, and one line for each error."""

import pytest
from triton_diffusion.cli import app
from typer.testing import CliRunner


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments), prog_name="triton-diffusion", env={"COLUMNS": "120"})


def test_help():
    assert "generate" in run("--help").output
    result = run("generate", "--help")
    assert result.exit_code == 0
    assert "Exit codes: 0 done" in result.output


def test_no_command_shows_the_help():
    assert "generate" in run().output


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_nothing_listens(protocol, unused_url, tmp_path):
    output = tmp_path / "out.png"
    result = run("generate", "a red circle", "-o", str(output), "--url", unused_url, "--protocol", protocol)
    name = {"grpc": "gRPC", "http": "HTTP"}[protocol]
    assert result.stderr == f"triton-diffusion: no {name} server at {unused_url}; is it running? (make serve)\n"
    assert (result.exit_code, result.stdout, output.exists()) == (3, "", False)


@pytest.mark.parametrize("output", ["out.jpg", "no/such/folder/out.png"])
def test_an_output_that_cannot_be_written(output, unused_url):
    result = run("generate", "a red circle", "-o", output, "--url", unused_url)
    assert result.exit_code == 2
    assert result.stderr == f"triton-diffusion: output is '{output}'; it must end in .png and its folder must exist\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--num-images", "3000000000"], "num_images is 3000000000; it must fit 32 bits"),
        (["--seed", str(2**63)], "seed is 9223372036854775808; it must fit 64 bits"),
        (["--guidance", "1e39"], "guidance_scale is 1e+39; it must fit 32-bit floating point"),
        (["--url", "http://localhost:8001"], "without a scheme"),
    ],
)
def test_a_value_that_cannot_be_sent(arguments, message, tmp_path):
    result = run("generate", "a red circle", "-o", str(tmp_path / "out.png"), *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("triton-diffusion: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--steps", "many"], ["--protocol", "rest"], ["--no-such-option"]])
def test_usage(arguments):
    result = run("generate", "a red circle", *arguments)
    assert result.exit_code == 2
    assert "Usage: triton-diffusion generate" in result.stderr
