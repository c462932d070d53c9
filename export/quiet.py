"""Silence of the libraries' own notes and progress bars on the terminal: what matters is said once, by us."""

from diffusers.utils import logging as diffusers_logging
from huggingface_hub.utils import logging as hub_logging
from transformers.utils import logging as transformers_logging


def quiet_libraries() -> None:
    """Errors only, from here on."""
    transformers_logging.disable_progress_bar()
    for library in (transformers_logging, diffusers_logging, hub_logging):
        library.set_verbosity_error()
