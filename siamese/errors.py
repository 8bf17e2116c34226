"""The errors a caller may want to catch; each carries one sentence that says what to do."""


class SiameseError(ValueError):
    """Base of every error that wrong input causes. The command line prints it and exits with code 2."""


class SettingsError(SiameseError):
    """A setting is unknown or out of its range."""


class ManifestError(SiameseError):
    """A manifest or a photo folder does not hold what it must; names the file and the row."""


class ImageError(SiameseError):
    """A photo cannot be read; the store puts it into quarantine with this reason."""


class LeakError(SiameseError):
    """Copies, bursts or encounters stand on both sides of a split that must not share them."""


class StoreError(SiameseError):
    """An image store is missing, damaged, or was made with another preprocessing."""


class InfeasiblePairing(SiameseError):
    """No assignment exists, because one identity holds more than half of the images."""


class ModelFolderError(SiameseError):
    """A model folder is incomplete or was changed after it was saved."""


class DiskError(SiameseError):
    """A file could not be written; the earlier one is untouched."""


class MissingPackage(SiameseError):
    """A package of an extra is asked for but not installed."""
