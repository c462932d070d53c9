"""Step tables of random schedules and requests: finite, or refused in one line."""

import math
import warnings
from dataclasses import fields

import numpy as np
from hypothesis import strategies as st
from sampling import (
    ALIASES,
    BETA_SCHEDULES,
    PREDICTION_TYPES,
    SAMPLERS,
    SPACINGS,
    FlowSchedule,
    read_schedule,
    step_table,
)

from tests.support.fuzzing import accepted, fuzz

BETAS = st.one_of(st.floats(1e-6, 0.5), st.floats(), st.sampled_from([0.0, 1.0, 1e-300, 1 - 1e-16, 1e-4, 0.02]))
LENGTHS = st.one_of(st.integers(1, 60), st.sampled_from([-1, 0, 1, 2, 3, 50, 100, 999, 1000, 1001, 10**12]))


@st.composite
def schedules(draw):
    """The arguments of `read_schedule`, most of them good."""
    given = {
        "num_train_timesteps": draw(LENGTHS),
        "beta_start": draw(BETAS),
        "beta_end": draw(BETAS),
        "beta_schedule": draw(st.sampled_from([*BETA_SCHEDULES, "sigmoid"])),
        "rescale_betas_zero_snr": draw(st.booleans()),
        "prediction_type": draw(st.sampled_from([*PREDICTION_TYPES, "flow"])),
        "steps_offset": draw(st.integers(-1, 3) | st.integers()),
        "set_alpha_to_one": draw(st.booleans()),
        "final_sigmas_type": draw(st.sampled_from(["zero", "sigma_min"])),
    }
    if draw(st.booleans()):
        low, high = sorted(draw(st.tuples(st.floats(1e-5, 0.9), st.floats(1e-5, 0.9))))
        given |= {"beta_start": low, "beta_end": high}
    if draw(st.integers(0, 3)) == 0:
        given["trained_betas"] = draw(st.lists(st.floats(1e-7, 0.999) | BETAS, max_size=60))
    return given


SAMPLER_NAMES = st.one_of(st.sampled_from([*SAMPLERS]), st.sampled_from([*ALIASES]), st.text(max_size=20))
SPACING_NAMES = st.one_of(st.none(), st.sampled_from([*SPACINGS]), st.text(max_size=20))
STEPS = st.one_of(st.integers(1, 60), st.integers(-2, 1100), st.integers())
ETA = st.one_of(st.none(), st.floats(0, 1), st.floats())


def check_table(schedule, sampler, steps, spacing, eta):
    table = accepted(ValueError, step_table, schedule, sampler, steps, spacing, eta=eta)
    if table is None:
        return
    assert 1 <= len(table) <= 2 * steps
    for field in fields(table):
        assert np.isfinite(getattr(table, field.name)).all(), field.name
    assert np.isfinite(table.coefficients).all()
    assert math.isfinite(table.start_noise)
    assert table.keeps.shape == (len(table),)


@fuzz(500, given=schedules(), sampler=SAMPLER_NAMES, steps=STEPS, spacing=SPACING_NAMES, eta=ETA)
def test_every_table_is_finite_or_refused(given, sampler, steps, spacing, eta):
    with warnings.catch_warnings(action="error"):
        schedule = accepted(ValueError, read_schedule, **given)
        if schedule is not None:
            check_table(schedule, sampler, steps, spacing, eta)


@fuzz(200, shift=st.floats(), length=LENGTHS, ends=st.booleans(), sampler=SAMPLER_NAMES, steps=STEPS, eta=ETA)
def test_every_table_of_a_flow_model_is_finite_or_refused(shift, length, ends, sampler, steps, eta):
    with warnings.catch_warnings(action="error"):
        schedule = accepted(ValueError, FlowSchedule, shift, length, ends)
        if schedule is not None:
            check_table(schedule, sampler, steps, "linspace", eta)
