"""The reason that the launcher names when Triton ends: logs as Triton 2.51 wrote them."""

import signal

import pytest
from triton_log import exit_reason, load_failure

START = """\
W1126 00:11:31.000000 1 pinned_memory_manager.cc:273] "Unable to allocate pinned system memory: CUDA driver version"
E1126 00:11:31.000000 1 cuda_memory_manager.cc:117] "CUDA memory pool disabled"
"""


def test_a_signal_is_named_with_the_exception_that_nothing_caught():
    log = f"{START}terminate called after throwing an instance of 'std::length_error'\n  what():  vector::_M_range\n"
    assert exit_reason(-signal.SIGABRT, log) == "Triton was ended by SIGABRT (std::length_error: vector::_M_range)"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_signal_without_an_exception_is_named_alone(number):
    assert exit_reason(-number, START) == f"Triton was ended by {number.name}"


def test_the_last_error_that_matters_is_told_not_that_there_is_no_gpu():
    log = f'E1126 00:11:30.1 1 main.cc:1] "failed to start HTTP service: Unavailable"\n{START}'
    assert exit_reason(1, log) == 'Triton ended with code 1: "failed to start HTTP service: Unavailable"'


def test_a_log_without_errors_leads_to_the_full_one():
    assert exit_reason(3, START) == "Triton ended with code 3: see --verbose"


def test_a_model_that_takes_its_process_with_it_is_told_with_its_last_words():
    log = (
        "Fatal Python error: Aborted\n"
        "E1126 00:11:30.1 1 model_lifecycle.cc:642] \"failed to load 'denoiser' version 1: Internal: Stub process "
        "'denoiser_0_0' is not healthy.\"\n"
    )
    assert str(load_failure(log)).startswith("model denoiser does not load (Fatal Python error: Aborted): write the")


def test_exceptions_of_processes_that_speak_at_once_are_told_apart():
    log = (
        "terminate called after throwing an instance of 'terminate called after throwing an instance of '"
        "std::invalid_argument'\n  what():  stol\n"
    )
    assert exit_reason(-signal.SIGABRT, log) == "Triton was ended by SIGABRT (std::invalid_argument: stol)"
