"""Prompts to context: tokenize, then one call of the text encoder for all that a request needs encoded."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from request import Request
from tokenizers import Tokenizer


class PromptEncoder:
    """Turns the prompts of a request into the UNet's context."""

    def __init__(
        self,
        tokenizer_file: Path,
        text_encoder: Callable[[np.ndarray], np.ndarray],
        warn: Callable[[str], None],
    ) -> None:
        """`text_encoder`: input_ids int32 (B, 77) to context float32 (B, 77, D)."""
        self._tokenizer = Tokenizer.from_file(str(tokenizer_file))
        self._text_encoder = text_encoder
        self._warn = warn

    def context(self, request: Request) -> np.ndarray:
        """float32 (1, 77, D), the prompt's; or (2, 77, D), where guided: the prompt's and the negative prompt's."""
        prompts = [request.prompt, request.negative_prompt] if request.guided else [request.prompt]
        distinct = list(dict.fromkeys(prompts))
        context = self._text_encoder(np.stack([self._tokenize(prompt) for prompt in distinct]))
        return context[[distinct.index(prompt) for prompt in prompts]]

    def _tokenize(self, prompt: str) -> np.ndarray:
        """int32 (77,), padded; truncated with a warning."""
        encoding = self._tokenizer.encode(prompt)
        if encoding.overflowing:
            lost = sum(sum(rest.attention_mask) for rest in encoding.overflowing)
            self._warn(f"prompt truncated: about {lost} tokens are past the text encoder's window of {len(encoding)}")
        return np.array(encoding.ids, np.int32)
