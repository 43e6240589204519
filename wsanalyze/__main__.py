"""`python -m wsanalyze`: the same as the command `wsanalyze`."""

import sys

from wsanalyze.cli import main

if __name__ == "__main__":
    sys.exit(main())
