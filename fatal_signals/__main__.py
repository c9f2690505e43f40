"""``python -m fatal_signals`` is ``fatal-signals``."""

import sys

from .command import main

sys.exit(main())
