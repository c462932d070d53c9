"""Metadata of images: the settings that made one, complete in `image.info`, and kept in PNG files."""

from .png import DEFAULT_SAMPLER, DEFAULT_SPACING, DEFAULT_STEPS, arguments_of, read_settings, save_png, settings_used

__all__ = [
    "DEFAULT_SAMPLER",
    "DEFAULT_SPACING",
    "DEFAULT_STEPS",
    "arguments_of",
    "read_settings",
    "save_png",
    "settings_used",
]
