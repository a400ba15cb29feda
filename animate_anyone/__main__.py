"""Entry point of `python -m animate_anyone`."""

import sys

from .cli import main

sys.exit(main())
