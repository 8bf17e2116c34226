"""Options that several sub-commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Recipe = Annotated[str | None, typer.Option(help="Name of a recipe under recipes/.")]
Config = Annotated[Path | None, typer.Option(help="YAML file with settings; overrides the recipe.")]
Values = Annotated[list[str] | None, typer.Option("--set", help="One setting, as training.batch_size=32.")]
ModelFolder = Annotated[Path, typer.Option("--model", help="Model folder that training wrote, as runs/flukes/model.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")]
