"""The samplers of the ladder."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sampler:
    """A sampler and its steps; `name` is the wire interface's."""

    name: str
    steps: int

    @property
    def deterministic(self) -> bool:
        """True if it approximates the ODE's solution."""
        return self.name != "ddpm"


DDPM = Sampler("ddpm", 1000)
DDIM = Sampler("ddim", 50)
DPMPP_2M = Sampler("dpmpp_2m", 20)
