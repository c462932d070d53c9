"""A workspace of tiny networks."""

import pytest

from benchmarks.gpu.__main__ import prepare
from export.checkpoint.random_weights import Architecture


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("gpu"), Architecture.TINY, lambda text: None)
