"""The options of `generate` for the settings of a request: one for each, under names that scripts rely on."""

import pytest
import typer
from triton_diffusion import MockTransport, Settings
from triton_diffusion.cli import app
from triton_diffusion.cli import generate as command
from typer.testing import CliRunner

GIVEN = {
    "negative_prompt": ("--negative", "blurry"),
    "num_images": ("--num-images", 2),
    "height": ("--height", 64),
    "width": ("--width", 96),
    "num_inference_steps": ("--steps", 12),
    "guidance_scale": ("--guidance", 3.5),
    "guidance_rescale": ("--guidance-rescale", 0.5),
    "sampler": ("--sampler", "DPM++ 2M Karras"),
    "timestep_spacing": ("--spacing", "karras"),
    "eta": ("--eta", 0.25),
    "seed": ("--seed", 2**40),
    "priority": ("--priority", "high"),
}


@pytest.fixture
def sent(monkeypatch, tmp_path):
    """The fields that `generate` sends for the options given."""
    found = []
    real = command.AsyncClient

    def handler(fields):
        found.append(dict(fields))
        return plain(fields)

    plain = MockTransport()._handler
    monkeypatch.setattr(command, "AsyncClient", lambda *args, **kwargs: real(transport=MockTransport(handler)))

    def run(*options: object):
        arguments = ["generate", "a red circle", "-o", str(tmp_path / "out.png"), *map(str, options)]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        return found.pop()

    return run


def test_every_setting_has_its_option(sent):
    assert GIVEN.keys() == Settings.__annotations__.keys()
    fields = sent(*[part for option in GIVEN.values() for part in option])
    assert fields == {"prompt": "a red circle", **{name: value for name, (_, value) in GIVEN.items()}}


def test_an_option_that_is_not_given_is_not_sent(sent):
    assert sent().keys() == {"prompt", "seed"}


def test_the_options_stand_together_in_the_help():
    parameters = [each.name for each in typer.main.get_command(app).commands["generate"].params]
    assert parameters[parameters.index("negative_prompt") :][: len(GIVEN)] == [*GIVEN]
