"""docs/samplers.md, written from the server's own tables: `python -m tests.support.samplers_page > docs/samplers.md`.

Needs `model_repository/diffusion/1` on PYTHONPATH, as pytest has it.
"""

import sys
from collections.abc import Iterable

from sampling import SAMPLERS, SPACINGS
from sampling.aliases import REFUSED_SAMPLERS, REFUSED_SPACINGS, SAMPLER_ALIASES, SPACING_ALIASES, Alias
from sampling.samplers import two_evaluations
from sampling.table import PURE_NOISE

PROGRAMS = ("diffusers", "A1111", "ComfyUI", "k-diffusion")
TWO_CALLS = ", ".join(f"`{name}`" for name in two_evaluations.SAMPLERS)
HEAD = f"""# Samplers and timestep spacings

The request fields `sampler` and `timestep_spacing` take our names and those of other programs. Case, blanks and
`_ - . ( )` do not matter, `++` is `pp`, `Scheduler` may be left out, and a sampler's name may end in a
spacing's: `DPM++ 2M Karras`, `euler_a`, `EulerDiscrete`, `dpmpp_2m_sgm_uniform`. A `timestep_spacing` given on its own
overrules the one in a sampler's name. This page is generated; a test holds it to the code.

## Samplers

*Default spacing* is taken where neither the request nor the checkpoint names one. A sampler's options are fields of
the request; their defaults stand beside them.

`num_inference_steps`, `preview_interval`, `step` and `num_steps` count steps of the sampler. A step is one denoiser
call; with {TWO_CALLS} it is two,
but for the last, and `pndm` makes one call more.
"""
SPACINGS_HEAD = """## Timestep spacings

`trailing` of `lcm` and `tcd` is the grid that they were distilled on, at most 50 steps.
"""
FIRST_BY_DDIM = ", ".join(f"`{name}`" for name, sampler in SAMPLERS.items() if not sampler.from_pure_noise)
NOTES_HEAD = f"""## Where the other program differs

These names are understood, but images differ from those of the other program where its method does. Besides, the first
step of {FIRST_BY_DDIM} is DDIM's here
where it starts at a sigma / alpha of {PURE_NOISE:g} or more, as with zero terminal SNR; other programs do not.
"""
REFUSED_HEAD = """## Refused by name
"""


def page() -> str:
    """The whole file."""
    parts = (
        HEAD,
        _samplers(),
        SPACINGS_HEAD,
        _spacings(),
        NOTES_HEAD,
        _notes(),
        REFUSED_HEAD,
        _refused(),
    )
    return "\n".join(parts)


def _samplers() -> str:
    rows = []
    for name, sampler in SAMPLERS.items():
        options = ", ".join(f"`{option}` {default:g}" for option, default in sampler.options.items())
        # What a spacing's name adds is left out: it stands in the table below.
        aliases = [alias for alias in SAMPLER_ALIASES if alias.sampler == name and alias.timestep_spacing is None]
        default = f"`{sampler.timestep_spacing}`"
        rows.append([f"`{name}`", _summary(sampler.function), default, options, *_by_program(aliases)])
    return _table(["sampler", "method", "default spacing", "options", *PROGRAMS], rows)


def _spacings() -> str:
    rows = []
    for name, spacing in SPACINGS.items():
        aliases = [alias for alias in SPACING_ALIASES if alias.timestep_spacing == name]
        rows.append([f"`{name}`", _summary(spacing), *_by_program(aliases)])
    return _table(["spacing", "nodes", *PROGRAMS], rows)


def _notes() -> str:
    noted = [alias for alias in SAMPLER_ALIASES + SPACING_ALIASES if alias.note]
    rows = [[alias.program, alias.name, f"`{alias.sampler or alias.timestep_spacing}`", alias.note] for alias in noted]
    return _table(["program", "name", "here", "difference"], rows)


def _refused() -> str:
    fields = {"sampler": REFUSED_SAMPLERS, "timestep_spacing": REFUSED_SPACINGS}
    rows = [
        [f"`{field}`", name, nearest.replace("'", "`")]
        for field, refused in fields.items()
        for name, nearest in refused.items()
    ]
    return _table(["field", "name", "nearest"], rows)


def _summary(function: object) -> str:
    """The first sentence of a docstring."""
    return (function.__doc__ or "").strip().split("\n\n")[0].replace("\n    ", " ").replace("|", "\\|")


def _by_program(aliases: Iterable[Alias]) -> list[str]:
    return [", ".join(alias.name for alias in aliases if alias.program == program) for program in PROGRAMS]


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


if __name__ == "__main__":
    sys.stdout.write(page())
