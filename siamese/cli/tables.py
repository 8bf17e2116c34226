"""What a sub-command answers with, and what it leaves out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def give_table(frame: pd.DataFrame, out: Path | None, as_json: bool) -> None:
    """Writes a table as CSV to a file, or prints it as JSON or CSV.

    Args:
        frame: the table.
        out: CSV file; None prints.
        as_json: whether what is printed is JSON, a list of rows.
    """
    if out:
        from siamese.files import write_atomically

        write_atomically(out, lambda path: frame.to_csv(path, index=False))
    elif as_json:
        print(frame.to_json(orient="records"))
    else:
        frame.to_csv(sys.stdout, index=False)


def tell_quarantine(quarantine: list[tuple[str, str]]) -> None:
    """Prints the reasons of the photos that were left out, each once, on stderr.

    Args:
        quarantine: (photo, reason) of each, as a `Matcher` keeps them.
    """
    for reason in dict.fromkeys(reason for _, reason in quarantine):  # a photo may have been read twice
        print(f"left out: {reason}", file=sys.stderr)
