"""Checkpoint folders with a damaged JSON file: read, or refused in one line that names the file or the folder."""

import json
import resource
import shutil
import time

import pytest
from hypothesis import strategies as st

from export.checkpoint.components import read_checkpoint
from export.errors import ExportError
from export.sizes import choose_sizes
from tests.support.fuzzing import accepted, fuzz

SECONDS = 5.0
MEMORY = 6 * 2**30  # bytes of address space beyond what the tests have: a setting may ask for all there is
VALUES = st.one_of(
    st.sampled_from([None, True, False, 0, 1, -1, 3, 7, 2**31, 2**70, 0.5, -1.5, 1e308, float("nan"), float("inf")]),
    st.sampled_from(["", "x", "zero", "auto", "silu", "../../../etc/passwd", "a\nb", "\x00", "\ud800", "é" * 400]),
    st.sampled_from([[], [1], [0, 0], [None], ["x"], [[]], {}, {"a": 1}, [1e3] * 40, [{}] * 4, [4, "x"]]),
)
CUTS = st.floats(0, 1, exclude_max=True)
BYTES = st.binary(min_size=1, max_size=4)
SERVING = {
    "guidance_scale": 5.0,
    "latent_rgb": {"weight": [[1, 0, 0]] * 4, "bias": [0, 0, 0]},
    "sampler": "dpmpp_2m",
    "timestep_spacing": "karras",
    "num_inference_steps": 20,
}


@pytest.fixture(scope="module")
def mutable_folder(tiny_folder, tmp_path_factory):
    """A copy of the tiny checkpoint in which one file at a time is damaged, and then mended."""
    folder = shutil.copytree(tiny_folder, tmp_path_factory.mktemp("fuzzed") / "tiny")
    (folder / "serving.json").write_text(json.dumps(SERVING))
    return folder


@pytest.fixture
def little_memory():
    limits = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as statm:
        now = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


def damaged(content: bytes, kind: str, place: float, value, raw: bytes) -> bytes:
    """A file's content with one thing changed, about `place` of its length from its beginning."""
    at = int(place * len(content))
    if kind == "truncated":
        return content[:at]
    if kind == "overwritten":
        return content[:at] + raw + content[at + len(raw) :]
    if kind == "nested":
        return b'{"a":' * 100_000
    settings = json.loads(content)
    target, key = settings, None
    while True:  # down into what holds more, as far as `place` says
        keys = sorted(target) if isinstance(target, dict) else range(len(target))
        key = keys[int(place * len(keys))]
        inner = target[key]
        if not isinstance(inner, dict | list) or not inner or place * 7 % 1 < 0.5:
            break
        target = inner
    if kind == "replaced":
        target[key] = value
    else:
        del target[key]
    return json.dumps(settings).encode()


def read_whole(folder) -> bool:
    """Everything that an export reads of a checkpoint before it writes a graph."""
    found = read_checkpoint(str(folder))
    sizes = choose_sizes(found, None, None)
    for text_input in found.family.text_inputs:
        found.load_tokenizer(text_input)
    for network in found.networks(sizes).values():
        found.load_module(network)
    return True


def check_reading(folder) -> None:
    start = time.monotonic()
    accepted(ExportError, read_whole, folder)
    assert time.monotonic() - start < SECONDS


@fuzz(
    100,
    number=st.integers(0, 1000),
    kind=st.sampled_from(["replaced", "replaced", "replaced", "deleted", "truncated", "overwritten", "nested"]),
    place=CUTS,
    value=VALUES,
    raw=BYTES,
)
@pytest.mark.usefixtures("little_memory")
def test_a_damaged_file_is_refused_in_one_line_or_does_no_harm(mutable_folder, number, kind, place, value, raw):
    files = sorted(mutable_folder.rglob("*.json"))
    file = files[number % len(files)]
    content = file.read_bytes()
    file.write_bytes(damaged(content, kind, place, value, raw))
    try:
        check_reading(mutable_folder)
    finally:
        file.write_bytes(content)


def test_a_class_name_of_two_lines_is_shown_in_one(mutable_folder):
    file = mutable_folder / "model_index.json"
    content = file.read_bytes()
    file.write_text(json.dumps(json.loads(content) | {"vae": ["diffusers", "a\nb"]}))
    try:
        assert accepted(ExportError, read_whole, mutable_folder) is None
    finally:
        file.write_bytes(content)


def test_every_file_is_refused_in_one_line_if_it_is_cut(mutable_folder):
    """Every file of the checkpoint, weights and vocabularies too, empty and cut in the middle."""
    for file in sorted(path for path in mutable_folder.rglob("*") if path.is_file()):
        content = file.read_bytes()
        for cut in (0, len(content) // 2):
            file.write_bytes(content[:cut])
            try:
                check_reading(mutable_folder)
            finally:
                file.write_bytes(content)


@pytest.mark.parametrize("component", ["unet", "vae", "text_encoder"])
@pytest.mark.parametrize("name", ["layers_per_block", "num_hidden_layers", "in_channels"])
def test_a_number_that_no_library_ends_with_is_refused_at_once(mutable_folder, component, name):
    file = mutable_folder / component / "config.json"
    content = file.read_bytes()
    file.write_text(json.dumps(json.loads(content) | {name: 2**31}))
    try:
        with pytest.raises(ExportError, match=f"{name} is 2147483648: use at most"):
            read_checkpoint(str(mutable_folder))
    finally:
        file.write_bytes(content)
