"""The error that ends the launcher."""


class LaunchError(Exception):
    """One line: what is wrong and what to do about it."""
