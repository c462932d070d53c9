"""The command line without a server: help, files, what a terminal shows, and one line for each error."""

import asyncio
import io
import json
import sys

import pytest
from PIL import Image
from rich.console import Console
from triton_diffusion import (
    AsyncClient,
    Client,
    Completed,
    MockTransport,
    Preview,
    Progress,
    Queued,
    read_settings,
    save_png,
)
from triton_diffusion.cli import app
from triton_diffusion.cli import generate as command
from triton_diffusion.cli._live import Display, in_text
from typer.testing import CliRunner


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments), prog_name="triton-diffusion", env={"COLUMNS": "120"})


@pytest.mark.parametrize(
    "command",
    [[], ["generate"], ["models"], ["status"], ["show-metadata"], ["gateway"], ["gateway-key"], ["serve-web"]],
)
def test_help_documents_the_exit_codes(command):
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "Exit codes: 0 done" in result.output


def test_no_command_shows_the_help():
    assert "generate" in run().output


def test_the_page_without_its_libraries(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    result = run("serve-web")
    assert result.stderr == "triton-diffusion: serve-web needs gradio: pip install 'triton-diffusion[web]'\n"
    assert result.exit_code == 1


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_nothing_listens(protocol, unused_url, tmp_path):
    output = tmp_path / "out.png"
    options = ["-o", str(output), "--url", unused_url, "--protocol", protocol, "--retries", "0"]
    result = run("generate", "a red circle", *options)
    name = {"grpc": "gRPC", "http": "HTTP"}[protocol]
    assert result.stderr == f"triton-diffusion: no {name} server at {unused_url}; is it running? (make serve)\n"
    assert (result.exit_code, result.stdout, output.exists()) == (3, "", False)


@pytest.mark.parametrize("output", ["out.jpg", "no/such/folder/out.png"])
def test_an_output_that_cannot_be_written(output, unused_url):
    result = run("generate", "a red circle", "-o", output, "--url", unused_url)
    assert result.exit_code == 2
    assert result.stderr == f"triton-diffusion: output is '{output}': use a name in .png, in a folder that exists\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--num-images", "3000000000"], "num_images is 3000000000: use -2147483648 to 2147483647"),
        (["--seed", str(2**63)], "seed is 9223372036854775808: use"),
        (["--guidance", "1e39"], "guidance_scale is 1e+39: use a number that 32-bit floating point can hold"),
        (["--url", "ftp://localhost:8001", "--protocol", "http"], "url is 'ftp://localhost:8001': use"),
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


def test_status_in_json_where_nothing_is_ready(unused_url):
    result = run("status", "--url", unused_url, "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (3, {"ready": False})


@pytest.mark.parametrize("command", ["models", "status"])
def test_no_server_to_ask(command, unused_url):
    result = run(command, "--url", unused_url)
    assert result.exit_code == 3
    assert result.stderr.startswith("triton-diffusion: ")
    assert result.stderr.count("\n") == 1


@pytest.fixture
def served(monkeypatch):
    """The command `generate` with a mock in place of the server."""
    real = command.AsyncClient
    monkeypatch.setattr(command, "AsyncClient", lambda *args, **kwargs: real(transport=MockTransport()))


@pytest.fixture
def image(tmp_path):
    """A file that holds the settings of its image."""
    with Client(transport=MockTransport()) as client:
        (image,) = client.text_to_image("a red circle", seed=7, sampler="ddim", eta=0.5, width=96, height=64)
    save_png(image, tmp_path / "first.png")
    return tmp_path / "first.png"


def test_show_metadata(image):
    lines = run("show-metadata", str(image)).stdout.splitlines()
    assert lines[0].split(maxsplit=1) == ["prompt", "a red circle"]
    assert ["sampler", "ddim"] in [line.split() for line in lines]
    assert json.loads(run("show-metadata", str(image), "--json").stdout) == read_settings(image)


def test_metadata_of_what_has_none(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "out.png")
    for name, code in (("out.png", 2), ("no.png", 1)):
        result = run("show-metadata", str(tmp_path / name))
        assert (result.exit_code, result.stdout) == (code, "")
        assert result.stderr.count("\n") == 1


@pytest.mark.usefixtures("served")
def test_an_image_is_made_again_from_its_file(image, tmp_path):
    assert run("generate", "--from", str(image), "-o", str(tmp_path / "again.png")).exit_code == 0
    assert (tmp_path / "again.png").read_bytes() == image.read_bytes()


@pytest.mark.usefixtures("served")
def test_options_and_prompts_go_before_those_of_the_file(image, tmp_path):
    options = ["--from", str(image), "--seed", "9", "-o", str(tmp_path / "other.png")]
    assert run("generate", "a blue square", *options).exit_code == 0
    expected = read_settings(image) | {"prompt": "a blue square", "seed": 9}
    assert read_settings(tmp_path / "other.png") == expected


@pytest.mark.usefixtures("served")
def test_another_sampler_is_not_given_the_eta_of_the_files(image, tmp_path):
    options = ["--from", str(image), "--sampler", "lcm", "-o", str(tmp_path / "other.png")]
    assert run("generate", *options).exit_code == 0
    assert "eta" in read_settings(image)
    assert "eta" not in read_settings(tmp_path / "other.png")


@pytest.mark.usefixtures("served")
def test_prompts_from_a_file_a_grid_and_json(tmp_path):
    (tmp_path / "prompts.txt").write_text("# shapes\na circle\n\n  a square  \n")
    options = ["-f", str(tmp_path / "prompts.txt"), "--num-images", "2", "--seed", "7", "--grid", "--json"]
    result = run("generate", "first of all", *options, "-o", str(tmp_path / "out.png"))
    assert result.exit_code == 0, result.output
    listed = json.loads(result.stdout)["images"]
    assert [(image["prompt"], image["seed"]) for image in listed] == [
        (prompt, seed) for prompt in ("first of all", "a circle", "a square") for seed in (7, 8)
    ]
    assert [image["path"] for image in listed] == [str(tmp_path / f"out-{k}.png") for k in range(6)]
    assert read_settings(listed[3]["path"])["prompt"] == "a circle"
    with Image.open(tmp_path / "out-grid.png") as grid, Image.open(listed[3]["path"]) as one:
        assert grid.size == (128, 192)
        assert grid.crop((64, 64, 128, 128)).tobytes() == one.tobytes()


@pytest.mark.usefixtures("served")
def test_prompts_from_standard_input(tmp_path):
    arguments = ["generate", "-f", "-", "-o", str(tmp_path / "out.png")]
    assert CliRunner().invoke(app, arguments, input="a circle\n").exit_code == 0
    assert read_settings(tmp_path / "out.png")["prompt"] == "a circle"


def test_no_prompt_at_all(tmp_path):
    result = run("generate", "-o", str(tmp_path / "out.png"))
    assert result.exit_code == 2
    assert result.stderr.startswith("triton-diffusion: prompt is missing: use ")


def shown(events, prompts=("a red circle",)) -> str:
    """The text sent to a terminal with colours after `events` of the first prompt."""
    console = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=160)
    with Display(prompts, True, console) as display:
        for event in events:
            display.show(0, event)
        display._progress.refresh()
    return console.file.getvalue()


def test_a_terminal_shows_the_place_the_steps_and_the_preview():
    assert "a red circle" in shown([Queued(3)])
    assert "waiting, place 3" in shown([Queued(3)])
    assert "4/9" in shown([Progress(0, 9), Progress(4, 9)])
    preview = Preview(4, 9, [Image.new("RGB", (16, 16), (255, 0, 0))])
    assert "38;2;255;0;0" in shown([Progress(4, 9), preview])
    assert "▀" not in shown([Progress(4, 9), preview, Completed([])]).rpartition("\n")[2]


def test_with_many_prompts_a_finished_one_makes_room():
    prompts = [f"number {k}" for k in range(10)]
    assert "number 8" not in shown([], prompts)
    assert "number 8" in shown([Completed([])], prompts)


def test_a_preview_in_text_has_two_pixels_in_a_character():
    image = Image.new("RGB", (16, 16), "red")
    image.paste("blue", (0, 8, 16, 16))
    text = in_text([image, image], 1)
    assert str(text) == "▀" * 4
    assert {str(span.style) for span in text.spans} == {"rgb(255,0,0) on rgb(0,0,255)"}


def test_elsewhere_nothing_is_shown():
    console = Console(file=io.StringIO(), force_terminal=False)
    with Display(["a"], True, console) as display:
        assert display.interval(20) is None
        display.show(0, Progress(1, 2))
    assert console.file.getvalue() == ""


@pytest.mark.parametrize(
    ("arguments", "terminal", "interval"),
    [({}, True, 2), ({"num_inference_steps": 100}, True, 10), ({"num_inference_steps": 3}, True, 1), ({}, False, None)],
)
def test_a_terminal_asks_for_ten_previews_on_the_way(arguments, terminal, interval):
    async def asked() -> int | None:
        async with AsyncClient(transport=MockTransport()) as client:
            return await command._preview_interval(client, {"timeout": None, **arguments}, display)

    console = Console(file=io.StringIO(), force_terminal=terminal, color_system="truecolor")
    with Display(["a"], True, console) as display:
        assert asyncio.run(asked()) == interval
