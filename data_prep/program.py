"""What the programs of `data_prep` share: options made from settings, sentences instead of tracebacks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from pydantic import ValidationError

from siamese.errors import SettingsError, SiameseError
from siamese.settings import StageSettings

Chosen = TypeVar("Chosen", bound=StageSettings)


def program_parser(
    module: str, description: str, settings: type[StageSettings] | None = None
) -> argparse.ArgumentParser:
    """Returns a parser for `python -m data_prep.<module>` with one option for each field of `settings`."""
    parser = argparse.ArgumentParser(prog=f"python -m data_prep.{module}", description=description)
    for name, field in settings.model_fields.items() if settings else ():
        option = "--" + name.replace("_", "-")
        parser.add_argument(option, dest=name, metavar="VALUE", help=f"{field.description} (default {field.default})")
    return parser


def settings_from(arguments: argparse.Namespace, settings: type[Chosen]) -> Chosen:
    """Checks the options that were given; the others keep their default.

    Raises:
        SettingsError: a value is out of its range; the sentence names the option.
    """
    given = {name: getattr(arguments, name) for name in settings.model_fields}
    try:
        return settings.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        raise SettingsError(
            f"{option} is wrong: {first['msg']}. Received: {first['input']!r}. See --help for the options."
        ) from error


def run_program(work: Callable[[], Sequence[str]]) -> int:
    """Does the work, prints its lines and returns the exit code: 0, or 2 with a sentence for wrong input."""
    try:
        print("\n".join(work()))
    except SiameseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
