"""The tokenizer and the text encoder, which learns what captions mean before any image is made.

A text encoder with random weights mixes the two colour words of a caption, and the UNet is slow to take them apart.
So it is first taught to tell the five attributes, from the end-of-text token on: that leaves them linearly readable in
the tokens that every cross-attention sees.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from shapes.captions import ATTRIBUTES, any_caption
from shapes.scenes import BACKGROUNDS, COLOURS, PLACES, RADII, SHAPES, TRAINING_SCENES

CONTEXT_DIM = 128
NUM_TOKENS = 77
START, END = "<|startoftext|>", "<|endoftext|>"
CLASSES = dict(zip(ATTRIBUTES, (SHAPES, COLOURS, tuple(RADII), tuple(PLACES), BACKGROUNDS)))


def new_tokenizer(seed: int = 0) -> CLIPTokenizer:
    """A CLIP tokenizer whose byte-pair merges were learned from captions; any other text falls into its letters."""
    rng = np.random.default_rng(seed)
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.normalizer = normalizers.Lowercase()
    learner.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(False)])
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=1000, initial_alphabet=letters, end_of_word_suffix="</w>")
    captions = (any_caption(scene, rng)[0] for scene in TRAINING_SCENES for _ in range(20))
    learner.train_from_iterator(captions, trainer)
    merges = [tuple(merge) for merge in _learned_merges(learner)]
    pieces = letters + [letter + "</w>" for letter in letters] + ["".join(merge) for merge in merges] + [START, END]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=NUM_TOKENS)


def _learned_merges(learner: Tokenizer) -> list[list[str]]:
    return json.loads(learner.to_str())["model"]["merges"]


def save_tokenizer(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write `tokenizer` in the current layout and, as vocab.json and merges.txt, in Stable Diffusion's."""
    tokenizer.save_pretrained(folder)
    tokenizer.backend_tokenizer.model.save(str(folder))


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """An untrained two-layer CLIP text model for `tokenizer`."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=CONTEXT_DIM,
        intermediate_size=4 * CONTEXT_DIM,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=NUM_TOKENS,
        projection_dim=CONTEXT_DIM,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def tokenize(tokenizer: CLIPTokenizer, captions: list[str]) -> torch.Tensor:
    """Token ids, int64 (B, 77), padded and truncated as Stable Diffusion does."""
    return tokenizer(
        captions, padding="max_length", truncation=True, max_length=NUM_TOKENS, return_tensors="pt"
    ).input_ids


def caption_batch(rng: np.random.Generator, batch_size: int) -> tuple[list[str], dict[str, torch.Tensor]]:
    """Captions of training scenes, and for each attribute the class it names: int64 (B,), the last class if none."""
    captions: list[str] = []
    labels: dict[str, list[int]] = {attribute: [] for attribute in ATTRIBUTES}
    for index in rng.integers(len(TRAINING_SCENES), size=batch_size):
        caption, named = any_caption(TRAINING_SCENES[index], rng)
        captions.append(caption)
        for attribute, classes in CLASSES.items():
            word = getattr(TRAINING_SCENES[index], attribute)
            labels[attribute].append(classes.index(word) if attribute in named else len(classes))
    return captions, {attribute: torch.tensor(values) for attribute, values in labels.items()}


def train_text_encoder(
    tokenizer: CLIPTokenizer, iterations: int, report: Callable[..., None], batch_size: int = 64, seed: int = 0
) -> CLIPTextModel:
    """Teach a new text encoder the attributes; the classifiers that read them are thrown away."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    text_encoder = new_text_encoder(tokenizer)
    heads = torch.nn.ModuleDict({name: torch.nn.Linear(CONTEXT_DIM, len(words) + 1) for name, words in CLASSES.items()})
    parameters = [*text_encoder.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=iterations, pct_start=0.1)
    for iteration in range(iterations):
        captions, labels = caption_batch(rng, batch_size)
        input_ids = tokenize(tokenizer, captions)
        context = text_encoder(input_ids).last_hidden_state  # (B, 77, D)
        ended = (input_ids == tokenizer.eos_token_id).float()
        loss, accuracy = torch.zeros(()), 1.0
        for attribute, head in heads.items():
            logits, target = head(context), labels[attribute]  # (B, 77, classes), (B,)
            losses = F.cross_entropy(logits.transpose(1, 2), target[:, None].expand(-1, NUM_TOKENS), reduction="none")
            loss = loss + (losses * ended).sum() / ended.sum()
            accuracy = min(accuracy, (logits[:, -1].argmax(-1) == target).float().mean().item())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        report(iteration, loss=loss.item(), worst_attribute_accuracy=accuracy)
    return text_encoder.eval()
