"""Metadata of images: the settings that made one, complete in `image.info`, and kept in PNG files."""

from .image_info import arguments_of, settings_used
from .png import read_settings, save_png

__all__ = ["arguments_of", "read_settings", "save_png", "settings_used"]
