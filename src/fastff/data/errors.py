"""The error of this package's data layer."""


class DataError(Exception):
    """A dataset cannot be found, verified or read; the message says which file and what to do."""
