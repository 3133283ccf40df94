"""`python -m kinema` is the command `kinema`."""

import sys

from inference.cli import main

if __name__ == "__main__":
    sys.exit(main())
