"""Prompts to conditioning: tokenize, then one call of the text encoders for all that a request needs encoded."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from networks import Conditioning, Network
from networks.arrays import HOST, Arrays
from request import Request
from tokenizers import Tokenizer


class PromptEncoder:
    """The prompts of a request as conditioning of the denoiser."""

    def __init__(
        self,
        tokenizer_files: Mapping[str, Path],
        text_encoder: Network,
        warn: Callable[[str], None],
        arrays: Arrays = HOST,
    ) -> None:
        """`tokenizer_files`: one for each input of `text_encoder`, by the input's name. `arrays`: its inputs'."""
        self._tokenizers = {name: Tokenizer.from_file(str(file)) for name, file in tokenizer_files.items()}
        self._text_encoder = text_encoder
        self._warn = warn
        self._arrays = arrays

    def conditioning(self, request: Request) -> Conditioning:
        """The text encoder's outputs for the prompt and, where guided, the negative prompt."""
        prompts = [request.prompt, request.negative_prompt] if request.guided else [request.prompt]
        distinct = list(dict.fromkeys(prompts))
        outputs = self._text_encoder(
            **{
                name: self._arrays.put(np.stack([self._tokenize(tokenizer, prompt) for prompt in distinct]))
                for name, tokenizer in self._tokenizers.items()
            }
        )
        if len(distinct) == len(prompts):
            return outputs
        return {name: self._arrays.xp.concat([array] * len(prompts)) for name, array in outputs.items()}

    def _tokenize(self, tokenizer: Tokenizer, prompt: str) -> np.ndarray:
        """int32 (tokens,), padded; truncated with a warning."""
        encoding = tokenizer.encode(prompt)
        if encoding.overflowing:
            lost = sum(sum(rest.attention_mask) for rest in encoding.overflowing)
            self._warn(f"prompt truncated: about {lost} tokens are past the text encoder's window of {len(encoding)}")
        return np.array(encoding.ids, np.int32)
