"""The command `fastff`, also as `python -m fastff`: the command line, if its packages are here."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line and return its exit code; 2 where a package of the study is missing."""
    try:
        from fastff import cli

        return cli.main()
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "fastff":
            raise
        needed = "fastff[study], installed by: pip install '.[study]'"
        print(f"fastff: no module {error.name!r}: the command needs {needed}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
