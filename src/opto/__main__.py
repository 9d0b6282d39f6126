"""`python -m opto`: the command line, where the script `opto` is not on the path."""

from __future__ import annotations

import sys

from opto.cli import main

if __name__ == "__main__":
    sys.exit(main())
