"""Runs every notebook from top to bottom; the first error stops it. Outputs are not kept.

python .ci/run_notebooks.py [NOTEBOOK ...]
"""

import sys
import time
from pathlib import Path

import jupytext
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"


def run(path: Path) -> None:
    """Runs one notebook in its own folder, as Jupyter would."""
    started = time.monotonic()
    notebook = jupytext.read(path)
    place = {"metadata": {"path": path.parent}}
    NotebookClient(notebook, timeout=1200, kernel_name="python3", resources=place).execute()
    print(f"{path.name}: {time.monotonic() - started:.0f} s", file=sys.stderr)


def main(names: list[str]) -> int:
    """Runs the notebooks named, or all."""
    paths = [Path(name) for name in names] or sorted(NOTEBOOKS.glob("*.ipynb"))
    for path in paths:
        run(path.resolve())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
