"""Where the libraries beneath keep what they write for themselves: in the temporary folder.

Left alone they write to the user's home (fonts, histories, kernels, compiled code) and beside the
package. A home may be full, slow, shared between machines, or not there at all.
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

# Environment variables by which each library takes another folder, and the name that it gets.
FOLDERS = {
    "CUDA_CACHE_PATH": "cuda",
    "IPYTHONDIR": "ipython",
    "JUPYTER_CONFIG_DIR": "jupyter/config",
    "JUPYTER_DATA_DIR": "jupyter/data",
    "JUPYTER_RUNTIME_DIR": "jupyter/runtime",
    "MPLCONFIGDIR": "matplotlib",
    "NUMBA_CACHE_DIR": "numba",
    "TRITON_CACHE_DIR": "triton",
    "XDG_CACHE_HOME": "others",
}


OWN = "FASTFF_CACHES"  # the variable that holds the folder, for processes that inherit it


def redirect_caches() -> None:
    """Set the variables for this process and those that it starts, where the user has not.

    To be called before the libraries are imported: some read their variable only then. A job on
    another machine inherits variables with the folder of the first one, and gets its own. Python's
    bytecode, which would lie beside the code, is not written.
    """
    _keep_kernels_clean()
    folder, inherited = cache_folder(), os.environ.get(OWN)
    for variable, name in FOLDERS.items():
        if os.environ.get(variable) in (None, f"{inherited}/{name}"):
            os.environ[variable] = f"{folder}/{name}"
    os.environ[OWN] = str(folder)
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    sys.dont_write_bytecode = True


def _keep_kernels_clean() -> None:
    """Have notebooks run the environment's packages and nothing else.

    Not a module of the working folder that is called like one of them, nor startup files of the
    user's IPython, nor a kernel `python3` of another Python.
    """
    os.environ["PYTHONSAFEPATH"] = "1"
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    for variable in ("IPYTHONDIR", "JUPYTER_PATH"):
        os.environ.pop(variable, None)


def cache_folder() -> Path:
    """Return a folder in the temporary one that this user alone can use, made if need be.

    It is the same one each time, so that a cache is of use to later processes. Numba and Triton run
    what they find in theirs, so where another user has taken the name it is a new folder.
    """
    folder = Path(tempfile.gettempdir()) / f"fastff-{os.geteuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    for path in (folder, Path(os.environ.get(OWN, folder))):
        if _is_private(path):
            return path
    return Path(tempfile.mkdtemp(prefix=f"{folder.name}-"))


def _is_private(path: Path) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    is_own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    return is_own and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
