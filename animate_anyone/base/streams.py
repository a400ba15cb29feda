"""Standard output and errors that may break: a closed terminal does not end an hour of work."""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from typing import TextIO


class PatientStream:
    """Passes everything on to a stream until it fails; from then on nothing is shown."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def __getattr__(self, name: str):
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """See `TextIO.write`."""
        try:
            self._stream.write(text)
        except OSError:
            self._give_up()
        return len(text)

    def flush(self) -> None:
        """See `TextIO.flush`."""
        try:
            self._stream.flush()
        except OSError:
            self._give_up()

    def _give_up(self) -> None:
        """Python flushes at its end what is still buffered: let that go nowhere, too."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


@contextlib.contextmanager
def patient_streams() -> Iterator[None]:
    """Standard output and errors that are closed, full or cut off do no harm in this block."""
    with contextlib.ExitStack() as stack:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is None:  # was closed before Python started
                stream = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
            patient = PatientStream(stream)
            redirect = getattr(contextlib, f"redirect_{name}")
            stack.enter_context(redirect(patient))
            stack.callback(patient.flush)
        yield


@contextlib.contextmanager
def quiet_libraries(*names: str) -> Iterator[None]:
    """What these libraries log and warn of in this block is for those who write them, not for those
    who use them: only their errors are shown.
    """
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for name, logger in zip(names, loggers):
            warnings.filterwarnings("ignore", module=name)
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels):
                logger.setLevel(level)
