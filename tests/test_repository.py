import importlib
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("siamese", "data_prep")
# Light in this order, lowest first: each is imported into a process that already holds the ones before it.
LIGHT = [
    "siamese.errors",
    "siamese.files",
    "siamese.settings",
    "siamese.recipes",
    "siamese.schedules",
    "siamese.run_folder",
    "siamese.runs",
    "siamese.manifest",
    "siamese.splits",
    "siamese.images",
    "siamese.contrast",
    "siamese.formats",
    "siamese.checks.leaks",
    "siamese.checks.check",
    "siamese.checks.output",
    "siamese.store",
    "siamese.store_plan",
    "siamese.pairs",
    "siamese.assignment",
    "siamese.candidates",
    "siamese.pools",
    "siamese.mining",
    "siamese.calibration",
    "siamese.drift",
    "siamese.encounters",
    "siamese.identity_scores",
    "siamese.reranking",
    "siamese.centroids",
    "siamese.decision",
    "siamese.ranking",
    "siamese.open_scores",
    "siamese.blends",
    "siamese.stacking",
    "siamese.postprocessing",
    "siamese.submissions",
    "siamese.markup",
    "siamese.report.page",
    "siamese.pseudo_labels",
    "siamese.catalog",
    "siamese.evaluation",
    "siamese",
    "siamese.cli",
]


MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
)


def documented(module):
    """Functions, methods and classes of a module whose docstring has an `Args:` section."""
    for thing in vars(module).values():
        if getattr(thing, "__module__", None) == module.__name__:
            members = vars(thing).values() if inspect.isclass(thing) else ()
            for candidate in (thing, *(getattr(member, "__func__", member) for member in members)):
                if callable(candidate) and "Args:\n" in (getattr(candidate, "__doc__", None) or ""):
                    yield candidate


def described_arguments(docstring):
    section = inspect.cleandoc(docstring).split("Args:\n", 1)[1]
    section = re.split(r"^\S", section, maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"^    \*{0,2}(\w+)(?: \([^)]*\))?:", section, flags=re.MULTILINE)


def accepted_arguments(thing):
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(thing).parameters.values()
    return [parameter.name for parameter in parameters if parameter.name != "self" and parameter.kind not in kinds]


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.mark.parametrize("name", MODULES)
def test_every_module_imports_and_says_what_it_is(name):
    assert importlib.import_module(name).__doc__


def test_light_modules_do_not_pull_in_keras():
    code = (
        "import importlib, sys\n"
        f"for name in {LIGHT}:\n"
        "    importlib.import_module(name)\n"
        "    heavy = {'keras', 'tensorflow'} & set(sys.modules)\n"
        "    assert not heavy, f'{name} imports {heavy}'\n"
    )
    answer = run_python(code)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["rank", "--help"]])
def test_help_answers_without_keras(arguments):
    code = (
        "import sys\n"
        f"sys.argv = ['siamese', *{arguments}]\n"
        "from siamese.cli import main\n"
        "try:\n"
        "    status = main()\n"
        "except SystemExit as end:\n"
        "    status = end.code\n"
        "assert not {'keras', 'tensorflow'} & set(sys.modules)\n"
        "sys.exit(status)\n"
    )
    answer = run_python(code)
    assert answer.returncode == 0, answer.stderr
    assert "Usage" in answer.stdout


@pytest.mark.parametrize("name", MODULES)
def test_args_in_docstrings_are_those_of_the_signatures(name):
    for thing in documented(importlib.import_module(name)):
        described = [argument for argument in described_arguments(thing.__doc__) if argument not in ("args", "kwargs")]
        assert described == accepted_arguments(thing), thing.__qualname__


def test_described_arguments_reads_a_docstring():
    def scale(images, *, factor, **options):
        """Scales.

        Args:
            images: `(n, h, w)`
                floats, also: negative ones.
            factor: of the scale.
            **options: passed on.

        Returns:
            scaled: images.
        """

    assert described_arguments(scale.__doc__) == ["images", "factor", "options"]
    assert accepted_arguments(scale) == ["images", "factor"]


def test_notebooks_are_stored_without_outputs():
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells), path.name


def test_make_alone_lists_every_target():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.search(r"^\.PHONY: (.+)$", makefile, flags=re.MULTILINE).group(1).split()
    listed = subprocess.run(["make"], capture_output=True, text=True, cwd=ROOT, check=True).stdout
    for target in targets:
        assert re.search(rf"make {re.escape(target)} +\S", listed), target
