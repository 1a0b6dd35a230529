"""`python -m evaluation.leaderboard`."""

import sys

from evaluation.leaderboard.command import main

sys.exit(main())
