"""`python -m evaluation.inspect_folder`."""

import sys

from evaluation.inspect_folder.command import main

sys.exit(main())
