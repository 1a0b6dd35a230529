"""`python -m evaluation.evaluate`."""

import sys

from evaluation.evaluate.command import main

sys.exit(main())
