"""Which version of the package is at work."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def installed_version() -> str:
    """Returns the installed version, "unknown" where the package is used from a folder."""
    try:
        return version("siamese")
    except PackageNotFoundError:
        return "unknown"
