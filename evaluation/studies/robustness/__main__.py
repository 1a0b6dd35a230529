"""`python -m evaluation.studies.robustness`."""

import sys

from evaluation.studies.robustness.command import main

sys.exit(main())
