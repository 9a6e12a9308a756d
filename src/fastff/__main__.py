"""`python -m fastff`: the command line."""

import sys

from fastff.cli import main

sys.exit(main())
