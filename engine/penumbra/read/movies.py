"""Movies through PyAV: every frame by number, exactly, with its colours as the file means them."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from threading import Lock
from typing import Any

import av
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from penumbra.errors import UnreadableError
from penumbra.frames import MOST_PIXELS
from penumbra.layer_graph import TIMECODE
from penumbra.read.storage_faults import patiently

_KEPT_FRAMES = 4
_KEPT_BYTES = 2**29  # of their planes
# Containers that hold their own pictures. Left to guess, FFmpeg takes a text file called .mp4 for a play list and opens
# whatever files or addresses it names.
_OPENING = {
    "format_whitelist": "mov,matroska,webm,avi,mxf,mpeg,mpegvideo,mpegts,asf,flv,ogg,yuv4mpegpipe,gif",
    "protocol_whitelist": "file",
}


@dataclass(frozen=True)
class MovieIndex:
    """Presentation times in order of display; ``keys`` those a decoder can start at. Empty if the file has none."""

    times: tuple[int, ...]
    keys: tuple[int, ...]
    count: int


class Movie:
    """One open movie. Frames are numbered from 1. Safe to use from several threads; decodes one frame at a time.

    Reading in order never seeks. Going elsewhere seeks to the key frame before and decodes up to the frame asked for.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._lock = Lock()
        self._kept: OrderedDict[int, VideoFrame] = OrderedDict()
        self._broken = False
        patiently(self._begin, file, str(file), probe=False)

    def _begin(self) -> None:
        self._open()
        try:
            self.index = _index(self.file, self._container, self._stream)
            self._restart()
            self.first = self.frame(1)
        except BaseException:
            self.close()
            raise

    @property
    def count(self) -> int:
        """Number of frames."""
        return self.index.count

    @property
    def fps(self) -> Fraction | None:
        """Average frames per second."""
        rate = self._stream.average_rate or self._stream.guessed_rate
        return Fraction(rate) if rate else None

    @property
    def codec(self) -> str:
        """The codec's name, such as ``h264``."""
        return str(self._stream.codec_context.name)

    @property
    def pixel_aspect(self) -> float:
        """Width of a stored pixel over its height, before rotation."""
        aspect = self._stream.sample_aspect_ratio
        return float(aspect) if aspect else 1.0

    @property
    def metadata(self) -> dict[str, str]:
        """The container's and the stream's own tags."""
        tags = {**self._container.metadata, **self._stream.metadata}
        return {str(key): str(value) for key, value in tags.items()}

    @property
    def timecode(self) -> str | None:
        """Of the first frame, from any of the movie's streams."""
        tags = [self._container.metadata, *(stream.metadata for stream in self._container.streams)]
        found = (str(tag["timecode"]) for tag in tags if tag.get("timecode"))
        return next((text for text in found if TIMECODE.match(text)), None)

    def frame(self, number: int) -> VideoFrame:
        """The decoded frame.

        Raises:
            UnreadableError: it cannot be decoded, naming file and frame.
        """
        with self._lock:
            if number not in self._kept:
                called = f"{self.file} (frame {number})"
                self._kept[number] = patiently(lambda: self._decode(number), self.file, called, probe=False)
                most = max(1, min(_KEPT_FRAMES, _KEPT_BYTES // _size(self._kept[number])))
                while len(self._kept) > most:
                    self._kept.popitem(last=False)
            return self._kept[number]

    def close(self) -> None:
        """Closes the file; kept frames stay valid."""
        self._container.close()

    def _open(self) -> None:
        try:
            # The prefix keeps a name such as "concat:a.mp4" from being taken for an address.
            self._container = av.open(f"file:{self.file}", options=_OPENING, metadata_errors="replace")
        except (av.FFmpegError, OSError, ValueError) as error:
            raise UnreadableError(
                f"{self.file} cannot be opened as a movie, it is corrupt or cut short: {_short(error)}.",
                "Export or copy it again.",
            ) from error
        if not self._container.streams.video:
            self._container.close()
            raise UnreadableError(f"{self.file} has no picture in it.", "Name a movie that has a video stream.")
        self._stream: VideoStream = self._container.streams.video[0]
        # None where no decoder knows the codec, whatever the stubs say.
        if getattr(self._stream, "codec_context", None) is None:
            self._container.close()
            raise UnreadableError(f"{self.file} is of a codec that is not known.", "Export it as ProRes or H.264.")
        width, height = self._stream.codec_context.width, self._stream.codec_context.height
        if width * height > MOST_PIXELS:
            self._container.close()
            raise UnreadableError(
                f"{self.file} claims {width}x{height} pixels, more than can be meant.", "Export it again."
            )
        self._stream.thread_type = "AUTO"
        self._stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}

    def _restart(self) -> None:
        """From the first packet again. Only a fresh container starts cleanly whatever was read of it."""
        self._container.close()
        self._open()
        self._frames: Iterator[VideoFrame] = self._container.decode(self._stream)
        self._position, self._broken = 0, False

    def _decode(self, number: int) -> VideoFrame:
        try:
            if self._broken:
                self._restart()
            return self._decode_by_time(number) if self.index.times else self._decode_in_order(number)
        except (av.FFmpegError, OSError) as error:
            self._position, self._broken = self.count + 1, True
            raise self._unreadable(number, f": {_short(error)}") from error

    def _decode_in_order(self, number: int) -> VideoFrame:
        if number <= self._position:
            self._restart()
        for frame in self._frames:
            self._position += 1
            if self._position == number:
                return self._whole(frame, number)
        self._position = self.count + 1
        raise self._unreadable(number, ": the movie ends before it")

    def _decode_by_time(self, number: int) -> VideoFrame:
        target = self.index.times[number - 1]
        # A seek may land too late (some formats index decoding times): then from ever earlier places.
        for start in self._starts(number, target):
            self._go(start)
            frame = next((frame for frame in self._frames if frame.pts is not None and frame.pts >= target), None)
            if frame is not None and frame.pts == target:
                self._position = number
                return self._whole(frame, number)
        self._position = self.count + 1
        raise self._unreadable(number, "")

    def _starts(self, number: int, target: int) -> list[int | str]:
        """Where to decode from: on from here, the two key frames before, the beginning."""
        keys = [key for key in self.index.keys if self.index.times[0] < key <= target]
        starts: list[int | str] = [*keys[:-3:-1], "beginning"]
        current = self.index.times[self._position - 1] if 0 < self._position < number else None
        fresh = self._position == 0
        nothing_nearer = not keys or (current is not None and keys[-1] <= current)
        if self._position + 1 == number or (nothing_nearer and (fresh or current is not None)):
            return ["here", *starts]
        return starts

    def _go(self, start: int | str) -> None:
        if start == "beginning":
            self._restart()
        elif isinstance(start, int):
            self._container.seek(start, stream=self._stream, backward=True, any_frame=False)
            self._frames = self._container.decode(self._stream)

    def _whole(self, frame: VideoFrame, number: int) -> VideoFrame:
        if frame.is_corrupt:
            raise self._unreadable(number, ": its data are damaged")
        return frame

    def _unreadable(self, number: int, reason: str) -> UnreadableError:
        return UnreadableError(
            f"{self.file} (frame {number}) cannot be decoded, the movie is corrupt or cut short{reason}.",
            "Export or copy it again.",
        )


def _index(file: Path, container: Any, stream: VideoStream) -> MovieIndex:
    """Reads every packet's time without decoding; raises :class:`UnreadableError` where the movie is cut short."""
    times, keys, packets, end, damaged = [], [], 0, 0, ""
    cause: BaseException | None = None
    try:
        for packet in container.demux(stream):
            if not packet.size:
                continue
            packets += 1
            damaged = "its packets are damaged" if packet.is_corrupt else damaged
            end = max(end, (packet.pts or packet.dts or 0) + (packet.duration or 0))
            if packet.is_discard or _is_hidden(stream, packet):
                continue
            times.append(packet.pts)
            if packet.is_keyframe:
                keys.append(packet.pts)
    except (av.FFmpegError, OSError) as error:
        damaged, cause = _short(error), error
    problem = damaged or _shortfall(container, stream, packets, end)
    if problem:
        raise UnreadableError(f"{file} is corrupt or cut short: {problem}.", "Export or copy it again.") from cause
    known = [time for time in times if time is not None]
    if len(set(known)) < len(times):
        return MovieIndex((), (), len(times))
    return MovieIndex(tuple(sorted(known)), tuple(sorted(key for key in keys if key is not None)), len(times))


def _is_hidden(stream: VideoStream, packet: Any) -> bool:
    """VP8 stores reference pictures that are never shown: bit 4 of the frame tag (RFC 6386, 9.1) is 0."""
    return stream.codec_context.name == "vp8" and not bytes(packet)[0] & 0x10


def _shortfall(container: Any, stream: VideoStream, packets: int, end: int) -> str:
    """What the movie announces and does not hold, or nothing. ``end``: when its last picture ends, in stream time."""
    if not packets:
        return "it holds no frames"
    if stream.frames > packets:
        return f"it announces {stream.frames} frames and holds {packets}"
    announced = 0.0 if stream.frames else _announced_seconds(container, stream)
    reached = float(end * stream.time_base) if stream.time_base else announced
    leeway = 2.5 / float(stream.average_rate) if stream.average_rate else 0.5
    return f"it announces {announced:.2f} s and ends at {reached:.2f} s" if announced - reached > leeway else ""


def _announced_seconds(container: Any, stream: VideoStream) -> float:
    """When the picture ends, by the stream's own tag (Matroska) or by the container's where there is no sound."""
    tag = re.match(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if tag:
        return int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3])
    if not container.duration or len(container.streams) > 1:
        return 0.0
    return float((container.duration + (container.start_time or 0)) / av.time_base)


def _size(frame: VideoFrame) -> int:
    return max(1, sum(plane.buffer_size for plane in frame.planes))


def _short(error: BaseException) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text[:160].rstrip(".")
