"""Turns a CLIP tokenizer into one file that the `tokenizers` library reads alone."""

from tokenizers import Tokenizer
from transformers import CLIPTokenizer

from export.specification import NUM_TOKENS


def standalone_tokenizer(tokenizer: CLIPTokenizer) -> Tokenizer:
    """A tokenizer whose `encode(text).ids` equal `tokenizer(text, padding="max_length", truncation=True)`'s 77 ids.

    Lower-casing, whitespace clean-up, the two special tokens, truncation and padding with the checkpoint's own pad
    token (in Stable Diffusion 2.x not the end token) are all part of it. What truncation cut off is in
    `encode(text).overflowing`.
    """
    standalone = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    standalone.enable_truncation(NUM_TOKENS, direction=tokenizer.truncation_side)
    standalone.enable_padding(
        length=NUM_TOKENS,
        pad_id=tokenizer.pad_token_id,
        pad_token=tokenizer.pad_token,
        direction=tokenizer.padding_side,
    )
    return standalone
