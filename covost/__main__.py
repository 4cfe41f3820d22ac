"""Run ``python -m covost`` like the ``covost`` command."""

from __future__ import annotations

import sys

from covost.cli import main

if __name__ == "__main__":
    sys.exit(main())
