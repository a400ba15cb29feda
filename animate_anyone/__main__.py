"""Entry point of `python -m animate_anyone` and `animate-anyone`."""

import os
import signal
import sys

from .cli import main


def run() -> None:
    """The command line as a process: the first Ctrl+C ends it in order, the second at once."""

    def first(number, frame):
        signal.signal(signal.SIGINT, lambda number, frame: os._exit(130))
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, first)
    sys.exit(main())


if __name__ == "__main__":
    run()
