"""The program `siamese`: sub-commands that parse settings, call one function and print."""

from siamese.cli.main import main

__all__ = ["main"]
