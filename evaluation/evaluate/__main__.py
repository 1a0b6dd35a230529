"""`python -m evaluation.evaluate`."""

from evaluation.evaluate.command import main
from system.processes import end

end(main())
