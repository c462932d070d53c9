"""The choices and defaults of the page, from the description of a server that is played here."""

from dataclasses import replace

from triton_diffusion import AsyncClient, Checkpoint, MockTransport
from triton_diffusion._checkpoint import Sampler
from triton_diffusion.web.page import Limits, Page

CHECKPOINT = Checkpoint(
    "described",
    height=32,
    width=64,
    height_range=(16, 48),
    width_range=(64, 64),
    multiple=16,
    guidance_scale=5.5,
    num_inference_steps=30,
    sampler="pndm",
    timestep_spacing="leading",
    samplers={"euler": Sampler("leading"), "pndm": Sampler("trailing")},
    ranges={"num_inference_steps": (2, 1000), "guidance_scale": (1.0, 9.5)},
)


class Described(MockTransport):
    def __init__(self, checkpoint: Checkpoint | None) -> None:
        super().__init__()
        self.checkpoint = checkpoint

    def ask(self, question, deadline):
        return self.checkpoint


def page_of(checkpoint: Checkpoint | None) -> Page:
    page = Page(["mock"], "mock", Limits())
    page.client = AsyncClient(transport=Described(checkpoint))
    return page


def test_the_form_offers_what_the_server_describes(run):
    headline, _, sampler, steps, guidance, width, height = run(page_of(CHECKPOINT).describe())
    assert "described" in headline
    assert ([value for _, value in sampler.choices], sampler.value) == (["euler", "pndm"], "pndm")
    assert (steps.minimum, steps.maximum, steps.value) == (2, 150, 30)
    assert (guidance.minimum, guidance.maximum, guidance.value) == (1, 9.5, 5.5)
    assert ([value for _, value in width.choices], width.value) == (["64"], "64")
    assert ([value for _, value in height.choices], height.value) == (["16", "32", "48"], "32")


def test_the_default_sampler_keeps_the_spacing_that_the_checkpoint_has_it_with(run):
    page = page_of(CHECKPOINT)
    run(page.describe())
    sent = [page._arguments("a", "", sampler, 30, 5.5, "", "64", "32") for sampler in ("pndm", "Euler a", None)]
    assert [arguments["sampler"] for arguments in sent] == [None, "Euler a", None]


def test_a_default_beyond_the_sliders_moves_their_end(run):
    slow = replace(CHECKPOINT, num_inference_steps=400)
    _, _, _, steps, *_ = run(page_of(slow).describe())
    assert (steps.maximum, steps.value) == (400, 400)


def test_a_server_that_describes_nothing_leaves_the_form_as_it_is(run):
    page = page_of(None)
    changes = run(page.describe())
    assert len(changes) == 7
    assert len({str(change) for change in changes}) == 1
    sent = page._arguments("a", "", None, 0, 0, "", None, None)
    assert (sent["num_inference_steps"], sent["guidance_scale"]) == (None, None)
