"""The standalone tokenizer gives the same ids as transformers', for checkpoints of both generations."""

import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import CLIPTokenizer

from export.checkpoint.random_weights import clip_format_tokenizer
from export.checkpoint.tokenizer import standalone_tokenizer

Pair = tuple[CLIPTokenizer, Tokenizer]


def special(content: str) -> dict:
    return {"content": content, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}


def stable_diffusion_files(folder: Path, pad_token: object) -> Path:
    """A tokenizer folder as Stable Diffusion checkpoints on the hub have it: no tokenizer.json."""
    model = clip_format_tokenizer().backend_tokenizer.model
    folder.mkdir()
    model.save(str(folder))
    tokens = {"bos_token": special("<|startoftext|>"), "eos_token": special("<|endoftext|>")}
    tokens |= {"unk_token": special("<|endoftext|>")}
    (folder / "special_tokens_map.json").write_text(json.dumps(tokens | {"pad_token": pad_token}))
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": 77,
        "do_lower_case": True,
        "add_prefix_space": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config | tokens | {"pad_token": pad_token}))
    return folder


@pytest.fixture(scope="module", params=["new", "1.x", "2.x"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """transformers' tokenizer and ours, which went through a file."""
    folder = tmp_path_factory.mktemp("tokenizer")
    if request.param == "new":
        clip_format_tokenizer().save_pretrained(folder / "it")
    else:
        stable_diffusion_files(folder / "it", "<|endoftext|>" if request.param == "1.x" else "!")
    reference = CLIPTokenizer.from_pretrained(folder / "it")
    assert reference.pad_token == ("!" if request.param == "2.x" else "<|endoftext|>")
    standalone_tokenizer(reference, 77).save(str(folder / "tokenizer.json"))
    return reference, Tokenizer.from_file(str(folder / "tokenizer.json"))


def same_ids(pair: Pair, text: str) -> bool:
    reference, standalone = pair
    expected = reference(text, padding="max_length", truncation=True, max_length=77).input_ids
    return standalone.encode(text).ids == expected and len(expected) == 77


utf8 = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


@settings(deadline=None)  # a busy machine is no failure
@given(utf8)
@example("")
@example("A Red\tCIRCLE,\n\n the   \u00a0 blue\u3000square's!!! 123 4th")
@example("don't we'll <|endoftext|> <|startoftext|>red<|endoftext|>")
@example("! !! wow!")
@example("e\u0301 \u00e9 \u01c5 \u0130stanbul \ufb01 \u1e9e \u03a3\u03c3\u03c2 \u212b")
@example("\U0001f468\u200d\U0001f469\u200d\U0001f467 \u4e2d\u6587 \u0627\u0644\u0639 \u0e44\u0e17\u0e22")
@example("\x00\x01\x1f\x7f\x85\u2028\ufeff\ufffd\U0010ffff")
@example("red " * 200)
@example("!" * 200)
@example(" leading and trailing ")
def test_same_ids_as_transformers(pair: Pair, text: str) -> None:
    assert same_ids(pair, text)


def test_layout_of_the_ids(pair: Pair) -> None:
    reference, standalone = pair
    ids = standalone.encode("Red  CIRCLE").ids
    assert ids[:4] == [
        reference.bos_token_id,
        *reference.convert_tokens_to_ids(["red</w>", "circle</w>"]),
        reference.eos_token_id,
    ]
    assert set(ids[4:]) == {reference.pad_token_id}


def test_what_was_cut_off_can_be_told(pair: Pair) -> None:
    assert not pair[1].encode("red " * 75).overflowing
    assert pair[1].encode("red " * 76).overflowing
