"""`python -m inference.cli` is `kinema`."""

import sys

from inference.cli import main

sys.exit(main())
