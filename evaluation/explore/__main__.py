"""`python -m evaluation.explore`."""

import sys

from evaluation.explore.command import main

sys.exit(main())
