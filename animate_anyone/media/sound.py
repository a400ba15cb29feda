"""The sound of a film, cut to the part that is used and put beside the frames of another video."""

import logging
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import Any

import av

from ..base.excerpt import WHOLE, Excerpt
from ..base.files import local_url, require_file
from .read import open_film

logger = logging.getLogger(__name__)

# Format of a file → codecs that it takes as they are, and what all others are encoded to.
COPIED = {"mp4": ("aac", "mp3", "opus"), "webm": ("opus", "vorbis")}
ENCODED = {"mp4": "aac", "webm": "libopus"}
GAP = 0.05  # seconds without sound that are kept
RATE = 48000  # samples per second of what is encoded: all encoders take it
BIT_RATE = 160_000  # bits per second


@dataclass(frozen=True)
class Sound:
    """A part of a file's sound.

    path    of the file
    begin   seconds on the file's clock
    """

    path: str
    begin: float = 0.0


def find_sound(path, excerpt: Excerpt = WHOLE) -> Sound | None:
    """The sound that belongs to the frames of `open_film`; None where the file has none.

    Raises:
        FileNotFoundError, ValueError: see `open_film`.
    """
    require_file(path)
    with open_film(path, excerpt) as film, av.open(local_url(path)) as container:
        return Sound(str(path), film.begin) if heard_stream(container) else None


def heard_stream(container):
    """The sound that players choose; None where there is none that can be read."""
    best = container.streams.best("audio")
    return best if best is not None and best.codec_context is not None else None


class SoundTrack:
    """Sound on its way into a file that is being written. What cannot be read ends it, with a
    warning: the frames beside it are worth more.

    Args:
        sound: where it comes from.
        output: the file; its header is not written yet.
        format: "mp4" or "webm".
    """

    def __init__(self, sound: Sound, output: av.container.OutputContainer, format: str):
        self._sound, self._output = sound, output
        self._input: Any = None
        self._packets: Generator = self._without_faults(iter(()))
        self._waiting: tuple[float, av.Packet] | None = None
        try:
            self._input = av.open(local_url(sound.path))
            self._source = heard_stream(self._input)
            self._packets = self._without_faults(self._begin(output, format))
            self._waiting = next(self._packets, None)
        except (av.FFmpegError, AttributeError) as error:
            self._complain(error)

    def _begin(self, output, format: str) -> Iterator:
        """The stream beside the frames, and what comes into it."""
        if self._source.codec_context.codec.canonical_name in COPIED[format]:
            self._stream = output.add_stream_from_template(self._source)
            return self._copied()
        channels = self._source.codec_context.layout.nb_channels
        layout = "mono" if channels == 1 else "stereo"
        self._stream = output.add_stream(ENCODED[format], rate=RATE, layout=layout)
        self._stream.codec_context.bit_rate = BIT_RATE
        return self._encoded()

    def write_until(self, seconds: float) -> None:
        """Put all into the file that is heard before a time of the video."""
        while self._waiting is not None and self._waiting[0] < seconds:
            packet = self._waiting[1]
            self._waiting = next(self._packets, None)
            try:
                self._output.mux(packet)
            except (av.error.InvalidDataError, av.error.ArgumentError) as error:
                self._complain(error)
                self._packets.close()

    def close(self) -> None:
        """Close the file that it comes from."""
        self._packets.close()
        if self._input is not None:
            self._input.close()

    def _without_faults(self, packets: Iterator) -> Generator:
        try:
            yield from packets
        except av.FFmpegError as error:
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        reason = getattr(error, "strerror", None) or error
        logger.warning("the sound of %s cannot be kept (%s)", self._sound.path, reason)

    def _copied(self) -> Iterator[tuple[float, av.Packet]]:
        """(seconds in the video, packet) from the first one that is heard on."""
        base = self._source.time_base
        shift = round(self._sound.begin / base)
        for packet in self._input.demux(self._source):
            if not packet.size or packet.pts is None:
                continue
            packet.pts -= shift
            packet.dts = packet.pts
            if packet.pts + (packet.duration or 0) <= 0:
                continue
            packet.stream = self._stream
            yield float(packet.pts * base), packet

    def _encoded(self) -> Iterator[tuple[float, av.Packet]]:
        """The same, encoded, each where it belongs."""
        coder = self._stream.codec_context
        coder.open()
        resampler = av.AudioResampler(coder.format, coder.layout, RATE, coder.frame_size)
        heard = 0  # samples
        for source in chain(self._input.decode(self._source), [None]):
            if source is not None:
                late = self._samples_after_start(source)
                if late is None:
                    continue
                if late - heard > GAP * RATE:  # sound that begins later, or a gap in it
                    heard = late
            frames = resampler.resample(source)
            for frame in frames if source is not None else (*frames, None):
                if frame is not None:
                    frame.time_base = Fraction(1, RATE)
                    frame.pts, heard = heard, heard + frame.samples
                for packet in self._stream.encode(frame):
                    yield float(packet.pts * packet.time_base), packet

    def _samples_after_start(self, source: av.AudioFrame) -> int | None:
        """Where a frame of sound belongs in the video; None before its beginning."""
        if source.time is None:
            return None
        after = source.time - self._sound.begin
        early = after + source.samples / source.sample_rate / 2 < 0
        return None if early else round(max(0.0, after) * RATE)
