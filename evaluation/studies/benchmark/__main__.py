"""`python -m evaluation.studies.benchmark`."""

import sys

from evaluation.studies.benchmark.command import main

sys.exit(main())
