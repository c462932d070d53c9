"""Standalone tokenizer: a CLIP tokenizer in one file that the `tokenizers` library reads alone."""

from tokenizers import Tokenizer
from transformers import CLIPTokenizer


def standalone_tokenizer(tokenizer: CLIPTokenizer, num_tokens: int) -> Tokenizer:
    """A tokenizer whose `encode(text).ids` equal `tokenizer(text, padding="max_length", truncation=True)`'s ids.

    Lower-casing, whitespace clean-up, the two special tokens, truncation and padding with the checkpoint's own pad
    token (in Stable Diffusion 2.x not the end token) are all part of it. What truncation to `num_tokens`
    cut off is in `encode(text).overflowing`.
    """
    standalone = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    standalone.enable_truncation(num_tokens, direction=tokenizer.truncation_side)
    standalone.enable_padding(
        length=num_tokens,
        pad_id=tokenizer.pad_token_id,
        pad_token=tokenizer.pad_token,
        direction=tokenizer.padding_side,
    )
    return standalone
