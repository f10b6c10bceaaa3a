"""Errors that a user can act on.

Everything here is printed as one line by the command line; anything else is a bug and keeps its traceback.
A message says, in this order: what (with its path or id), what was found, what was expected, what to do next.

    FnbenchError
    ├── DatasetNotFoundError     nothing of this dataset under the given folder
    ├── InvalidDataError         a file of the dataset is damaged, or is not what its name says
    ├── InvalidStoreError        an .h5 file is damaged, unfinished, or of another schema
    ├── InvalidPredictionError   predictions missing, of another shape, or not normals
    ├── InvalidWeightsError      a weights file is damaged, of another architecture, or no weights at all
    ├── InvalidRecordError       a result record contradicts itself, or does not fit the others
    ├── InvalidSettingError      an option, recipe or card with an unknown or impossible value
    ├── UnknownNameError         no dataset, model or preset of this name
    ├── MissingDependencyError   an optional library or a system package is not installed
    └── OutputError              the result could not be written (disk full, read-only, in use)
"""


class FnbenchError(Exception):
    """Base of all errors a user can act on.

    code: the number of the failure mode ("FM-33"), for programs; empty when it has none.
    """

    def __init__(self, message: str = "", code: str = "") -> None:
        super().__init__(message)
        self.code = code


class DatasetNotFoundError(FnbenchError):
    """Nothing of this dataset lies under the given folder."""


class InvalidDataError(FnbenchError):
    """A file of the dataset is damaged, or not what its name says."""


class InvalidStoreError(FnbenchError):
    """An HDF5 file is damaged, unfinished, or of another schema."""


class InvalidPredictionError(FnbenchError):
    """Predictions are missing, of another shape, or not normals."""


class InvalidWeightsError(FnbenchError):
    """A weights file is damaged, belongs to another architecture, or is no weights file."""


class InvalidRecordError(FnbenchError):
    """A result record contradicts itself, or does not fit the records beside it."""


class InvalidSettingError(FnbenchError):
    """An option, recipe or card holds an unknown key or an impossible value."""


class UnknownNameError(FnbenchError):
    """No dataset, model or preset has this name."""


class MissingDependencyError(FnbenchError):
    """An optional library or a system package is not installed."""


class OutputError(FnbenchError):
    """A result could not be written: disk full, read-only folder, or already in use."""
