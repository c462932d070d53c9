"""What a machine with a GPU and no network is given."""

import re

import pytest

from benchmarks.gpu.kit import PACKAGES, UNUSED, pinned


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_has_the_version_that_the_project_pins(package):
    assert re.fullmatch(rf"{package}==[\d.]+", pinned(package))


def test_a_package_that_nothing_pins_is_an_error():
    with pytest.raises(ValueError, match="no version of leftpad"):
        pinned("leftpad")


@pytest.mark.parametrize(
    ("file", "kept"),
    [
        ("pytriton/tritonserver/python_backend_stubs/3.12/triton_python_backend_stub", True),
        ("pytriton/tritonserver/python_backend_stubs/3.11/triton_python_backend_stub", False),
        ("pytriton/tritonserver/bin/tritonserver", True),
        ("nvidia_pytriton.libs/libpython3-419a3a08.13.so.1.0", False),
        ("numpy/core/tests/test_api.py", False),
        ("numpy-1.26.4.dist-info/METADATA", True),
        ("numpy-1.26.4.dist-info/RECORD", False),
    ],
)
def test_of_a_wheel_only_what_that_machine_reads_is_packed(file, kept):
    assert bool(UNUSED.search(file)) is not kept
