"""`python -m evaluation.report`."""

import sys

from evaluation.report.command import main

sys.exit(main())
