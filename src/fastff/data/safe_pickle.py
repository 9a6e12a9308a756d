"""Unpickle dictionaries of plain containers and uint8 arrays, and nothing that could run code."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from fastff.data.errors import DataError


class _ArrayUnpickler(pickle.Unpickler):
    """Finds only the three names that NumPy writes for an array."""

    def __init__(self, content: bytes, origin: str | Path) -> None:
        # latin1 maps the bytes of a Python 2 string one to one; NumPy turns them back.
        super().__init__(io.BytesIO(content), encoding="latin1")
        self.origin = origin

    def find_class(self, module: str, name: str) -> Any:
        match module, name:
            case (("numpy.core.multiarray" | "numpy._core.multiarray"), "_reconstruct"):
                # Where this function lives depends on NumPy's version; an array knows it.
                return np.empty(0, np.uint8).__reduce__()[0]
            case "numpy", "ndarray":
                return np.ndarray
            case "numpy", "dtype":
                return self._dtype
        raise DataError(
            f"{self.origin}: the pickle asks for {module}.{name}; "
            "allowed are plain containers and NumPy uint8 arrays"
        )

    def _dtype(self, code: str, *_flags: object) -> np.dtype[np.uint8]:
        # Python 2 wrote the flags as integers, which NumPy 2.4 deprecates: they are always these.
        if code != "u1":
            raise DataError(f"{self.origin}: an array of type {code!r}; allowed is 'u1' (uint8)")
        return np.dtype(np.uint8)


def load_pickle(content: bytes, origin: str | Path) -> Any:
    """Return the object that `content` holds.

    Args:
        content: a pickle of any protocol; strings of Python 2 are read as latin1.
        origin: the file, for the message.

    Raises:
        DataError: the pickle is malformed, or asks for anything but plain containers and NumPy
            arrays of uint8.

    """
    try:
        return _ArrayUnpickler(content, origin).load()
    except DataError:
        raise
    except Exception as error:  # a malformed pickle can raise anything
        raise DataError(f"{origin}: not a readable pickle ({error})") from error
