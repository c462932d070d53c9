"""Names that users bring along from diffusers, A1111, ComfyUI and k-diffusion, as data.

Case, blanks and `_ - . ( )` do not matter, "++" is "pp", "Scheduler" may be left out, and a sampler's name may end in
a spacing's ("Euler a Karras"). Where the other program computes something else, a note says so.
"""

import re
import reprlib
from dataclasses import dataclass
from functools import cache

from .samplers import SAMPLERS
from .spacing import SPACINGS

_PUNCTUATION = re.compile(r"[ _\-.()]")


@dataclass(frozen=True)
class Alias:
    """Another program's name of a sampler, a spacing, or both."""

    program: str
    name: str
    sampler: str | None
    timestep_spacing: str | None = None
    note: str = ""


DISCARDS = "there without the last node but one"
EVEN_STEPS = "there every step is T // N timesteps long, which `linspace`, and `trailing` unless N divides T, are not"
SAMPLER_ALIASES = (
    Alias("diffusers", "DDPMScheduler", "ddpm"),
    Alias("diffusers", "DDIMScheduler", "ddim", note=EVEN_STEPS),
    Alias(
        "diffusers",
        "PNDMScheduler",
        "pndm",
        note=f"as with skip_prk_steps; there v_prediction averages v and not epsilon; {EVEN_STEPS}",
    ),
    Alias("diffusers", "EulerDiscreteScheduler", "euler"),
    Alias("diffusers", "EulerAncestralDiscreteScheduler", "euler_ancestral"),
    Alias("diffusers", "HeunDiscreteScheduler", "heun"),
    Alias("diffusers", "KDPM2DiscreteScheduler", "dpm_2"),
    Alias("diffusers", "KDPM2AncestralDiscreteScheduler", "dpm_2_ancestral"),
    Alias("diffusers", "LMSDiscreteScheduler", "lms"),
    Alias("diffusers", "DPMSolverMultistepScheduler", "dpmpp_2m", note="as with its default algorithm_type"),
    Alias("diffusers", "DPMSolverSDEScheduler", "dpmpp_sde"),
    Alias("diffusers", "UniPCMultistepScheduler", "unipc"),
    Alias(
        "diffusers",
        "DEISMultistepScheduler",
        "deis",
        note="there ends at the cleanest trained level; here on such checkpoints, but for karras, exponential, beta",
    ),
    Alias("diffusers", "LCMScheduler", "lcm"),
    Alias("diffusers", "TCDScheduler", "tcd"),
    Alias("A1111", "Euler", "euler"),
    Alias("A1111", "Euler a", "euler_ancestral"),
    Alias("A1111", "Heun", "heun"),
    Alias("A1111", "LMS", "lms"),
    Alias("A1111", "LMS Karras", "lms", "karras"),
    Alias("A1111", "DPM2", "dpm_2", note=DISCARDS),
    Alias("A1111", "DPM2 Karras", "dpm_2", "karras", note=DISCARDS),
    Alias("A1111", "DPM2 a", "dpm_2_ancestral", note=DISCARDS),
    Alias("A1111", "DPM2 a Karras", "dpm_2_ancestral", "karras", note=DISCARDS),
    Alias("A1111", "DPM++ 2S a", "dpmpp_2s_ancestral"),
    Alias("A1111", "DPM++ 2S a Karras", "dpmpp_2s_ancestral", "karras"),
    Alias("A1111", "DPM++ 2M", "dpmpp_2m"),
    Alias("A1111", "DPM++ 2M Karras", "dpmpp_2m", "karras"),
    Alias("A1111", "DPM++ SDE", "dpmpp_sde"),
    Alias("A1111", "DPM++ SDE Karras", "dpmpp_sde", "karras"),
    Alias("A1111", "DPM++ 2M SDE", "dpmpp_2m_sde"),
    Alias("A1111", "DPM++ 2M SDE Karras", "dpmpp_2m_sde", "karras"),
    Alias("A1111", "DPM++ 2M SDE Exponential", "dpmpp_2m_sde", "exponential"),
    Alias("A1111", "DPM++ 3M SDE", "dpmpp_3m_sde", note=DISCARDS),
    Alias("A1111", "DPM++ 3M SDE Karras", "dpmpp_3m_sde", "karras", note=DISCARDS),
    Alias("A1111", "DPM++ 3M SDE Exponential", "dpmpp_3m_sde", "exponential", note=DISCARDS),
    Alias("A1111", "DDIM", "ddim"),
    Alias("A1111", "PLMS", "pndm"),
    Alias("A1111", "UniPC", "unipc", note="there by code of its own, not compared"),
    Alias("A1111", "LCM", "lcm", note="there without the share of x"),
    Alias("ComfyUI", "euler", "euler"),
    Alias("ComfyUI", "euler_ancestral", "euler_ancestral"),
    Alias("ComfyUI", "heun", "heun"),
    Alias("ComfyUI", "dpm_2", "dpm_2", note=DISCARDS),
    Alias("ComfyUI", "dpm_2_ancestral", "dpm_2_ancestral", note=DISCARDS),
    Alias("ComfyUI", "lms", "lms"),
    Alias("ComfyUI", "dpmpp_2s_ancestral", "dpmpp_2s_ancestral"),
    Alias("ComfyUI", "dpmpp_2m", "dpmpp_2m"),
    Alias("ComfyUI", "dpmpp_sde", "dpmpp_sde"),
    Alias("ComfyUI", "dpmpp_sde_gpu", "dpmpp_sde", note="the noise is ours"),
    Alias("ComfyUI", "dpmpp_2m_sde", "dpmpp_2m_sde"),
    Alias("ComfyUI", "dpmpp_2m_sde_gpu", "dpmpp_2m_sde", note="the noise is ours"),
    Alias("ComfyUI", "dpmpp_3m_sde", "dpmpp_3m_sde"),
    Alias("ComfyUI", "dpmpp_3m_sde_gpu", "dpmpp_3m_sde", note="the noise is ours"),
    Alias("ComfyUI", "ddpm", "ddpm"),
    Alias("ComfyUI", "ddim", "ddim"),
    Alias("ComfyUI", "uni_pc", "unipc", note="there with bh1, here with bh2"),
    Alias("ComfyUI", "uni_pc_bh2", "unipc", note="there by code of its own, not compared"),
    Alias("ComfyUI", "deis", "deis", note="there by code of its own, not compared"),
    Alias("ComfyUI", "lcm", "lcm", note="there without the share of x"),
    Alias("k-diffusion", "sample_euler", "euler"),
    Alias("k-diffusion", "sample_euler_ancestral", "euler_ancestral"),
    Alias("k-diffusion", "sample_heun", "heun"),
    Alias("k-diffusion", "sample_dpm_2", "dpm_2"),
    Alias("k-diffusion", "sample_dpm_2_ancestral", "dpm_2_ancestral"),
    Alias("k-diffusion", "sample_lms", "lms"),
    Alias("k-diffusion", "sample_dpmpp_2s_ancestral", "dpmpp_2s_ancestral"),
    Alias("k-diffusion", "sample_dpmpp_2m", "dpmpp_2m"),
    Alias("k-diffusion", "sample_dpmpp_sde", "dpmpp_sde"),
    Alias("k-diffusion", "sample_dpmpp_2m_sde", "dpmpp_2m_sde"),
    Alias("k-diffusion", "sample_dpmpp_3m_sde", "dpmpp_3m_sde"),
)
SPACING_ALIASES = (
    Alias("diffusers", "use_karras_sigmas", None, "karras"),
    Alias("diffusers", "use_exponential_sigmas", None, "exponential"),
    Alias("diffusers", "use_beta_sigmas", None, "beta"),
    Alias("A1111", "Karras", None, "karras"),
    Alias("A1111", "Exponential", None, "exponential"),
    Alias("A1111", "Beta", None, "beta"),
    Alias("A1111", "SGM Uniform", None, "sgm_uniform"),
    Alias("A1111", "Simple", None, "simple"),
    Alias("A1111", "Normal", None, "normal"),
    Alias("A1111", "Uniform", None, "normal"),
    Alias("A1111", "Align Your Steps", None, "ays", note="there N nodes and then 0, here N + 1 of which the last is 0"),
    Alias("ComfyUI", "karras", None, "karras"),
    Alias("ComfyUI", "exponential", None, "exponential"),
    Alias("ComfyUI", "beta", None, "beta", note="there the timesteps follow the beta distribution: another grid"),
    Alias("ComfyUI", "sgm_uniform", None, "sgm_uniform"),
    Alias("ComfyUI", "simple", None, "simple"),
    Alias("ComfyUI", "normal", None, "normal"),
    Alias("ComfyUI", "AlignYourStepsScheduler", None, "ays"),
    Alias("k-diffusion", "get_sigmas_karras", None, "karras"),
    Alias("k-diffusion", "get_sigmas_exponential", None, "exponential"),
    Alias("k-diffusion", "get_sigmas", None, "normal"),
)
# Names of what is not here, though some could be taken for one of ours, and what is nearest.
REFUSED_SAMPLERS = {
    "DPMSolverSinglestepScheduler": "'dpmpp_2m'",
    "DPM++ 2M SDE Heun": "'dpmpp_2m_sde'",
    "DPM fast": "'dpmpp_2m'",
    "DPM adaptive": "'dpmpp_2m'",
    "Restart": "'heun'",
    "ddim_uniform": "'ddim' with timestep_spacing 'leading'",
}
REFUSED_SPACINGS = {
    "DDIM": "'leading'",
    "ddim_uniform": "'leading'",
    "kl_optimal": "'karras'",
    "linear_quadratic": "'sgm_uniform'",
}

# What clients are told: another program's name to our sampler and, where the name carries one, our spacing.
ALIASES: dict[str, tuple[str, str | None]] = {
    alias.name: (alias.sampler, alias.timestep_spacing)
    for alias in SAMPLER_ALIASES
    if alias.sampler and alias.name != alias.sampler
}


def resolve(sampler: str, timestep_spacing: str | None) -> tuple[str, str | None]:
    """Our names of a sampler and a spacing; the spacing None where neither argument names one.

    A spacing of its own overrules the one in a sampler's name. ValueError says in one line what is allowed.
    """
    spacing = None if timestep_spacing is None else _resolve_spacing(timestep_spacing)
    _refuse("sampler", sampler, REFUSED_SAMPLERS)
    if _key(sampler) not in _samplers():
        raise ValueError(
            f"sampler is {reprlib.repr(sampler)}: use one of {', '.join(SAMPLERS)}, or its name in diffusers, "
            "A1111, ComfyUI or k-diffusion"
        )
    name, carried = _samplers()[_key(sampler)]
    return name, spacing or carried


def _resolve_spacing(timestep_spacing: str) -> str:
    _refuse("timestep_spacing", timestep_spacing, REFUSED_SPACINGS)
    if _key(timestep_spacing) not in _spacings():
        raise ValueError(f"timestep_spacing is {reprlib.repr(timestep_spacing)}: use one of {', '.join(SPACINGS)}")
    return _spacings()[_key(timestep_spacing)]


def _refuse(field: str, given: str, refused: dict[str, str]) -> None:
    for name, nearest in refused.items():
        if _key(given) == _key(name):
            raise ValueError(f"{field} is {given!r}, which this server does not have: the nearest is {nearest}")


@cache
def _samplers() -> dict[str, tuple[str, str | None]]:
    """Every key of a sampler, alone and followed by every key of a spacing."""
    plain = {_key(name): (name, None) for name in SAMPLERS}
    named = {_key(name): found for name, found in ALIASES.items()}
    alone = plain | named
    both = {
        key + spacing_key: (sampler, spacing)
        for key, (sampler, carried) in alone.items()
        for spacing_key, spacing in _spacings().items()
        if carried is None
    }
    return both | alone


@cache
def _spacings() -> dict[str, str]:
    named = {_key(alias.name): alias.timestep_spacing for alias in SPACING_ALIASES if alias.timestep_spacing}
    return {_key(name): name for name in SPACINGS} | named


def _key(name: str) -> str:
    """A name without what does not matter in it."""
    return _PUNCTUATION.sub("", name.lower().replace("++", "pp")).replace("scheduler", "")
