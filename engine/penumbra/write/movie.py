"""The preview movie: H.264 as every player and browser takes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from math import ceil, sqrt
from pathlib import Path

import av
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream

from penumbra.write.files import written_whole
from penumbra.write.tiles import FrameTiles, Picture
from penumbra.write.typography import blank, put_text

MAX_WIDTH = 1920
_CAPTION_HEIGHT, _LETTERS = 28, 11
# Left alone x264 sums in an order that follows the processor and where its buffers lie: other bytes, same pictures.
_OPTIONS = {"crf": "20", "preset": "veryfast", "x264-params": "cpu-independent=1"}


def columns_of(count: int) -> int:
    """How many pictures stand side by side."""
    return ceil(sqrt(count))


def draw_grid(titles: Sequence[str], frame: FrameTiles) -> Picture:
    """A frame's pictures in reading order under their titles: H x W x 3 sRGB, even in both sizes."""
    (height, width), columns = frame.pictures[0].shape[:2], columns_of(len(titles))
    pitch = height + _CAPTION_HEIGHT
    grid = blank(pitch * ceil(len(titles) / columns), width * columns)
    notes = {"plate": f"plate {frame.number}", "recomposition error": f"error, max {frame.max_error:.1e}"}
    for index, (title, picture) in enumerate(zip(titles, frame.pictures, strict=True)):
        top, left = index // columns * pitch, index % columns * width
        put_text(grid, notes.get(title, title), left + 8, top + _CAPTION_HEIGHT // 2, _LETTERS, width - 16)
        grid[top + _CAPTION_HEIGHT : top + pitch, left : left + width] = picture
    return grid


class MovieWriter:
    """Takes pictures of one size, one by one."""

    def __init__(self, container: av.container.OutputContainer, fps: Fraction) -> None:
        self._container, self._fps = container, fps
        self._stream: VideoStream | None = None

    def add(self, picture: Picture) -> None:
        """One frame: H x W x 3 sRGB, both sizes even."""
        stream = self._stream = self._stream or self._open(picture)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)
        self._container.mux(stream.encode(frame))

    def finish(self) -> None:
        """Writes what the encoder still holds."""
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))

    def _open(self, picture: Picture) -> VideoStream:
        stream = self._container.add_stream("libx264", rate=self._fps, options=_OPTIONS)
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt = "yuv420p"
        codec = stream.codec_context
        # Untagged, players guess the matrix by the size of the picture.
        codec.colorspace, codec.color_range = Colorspace.ITU709, ColorRange.MPEG
        codec.color_primaries, codec.color_trc = ColorPrimaries.BT709, ColorTrc.IEC61966_2_1
        return stream


@contextmanager
def movie(path: Path, fps: Fraction | None) -> Iterator[MovieWriter]:
    """An MP4 at ``path``, whole when the block ends well and absent otherwise; without a rate, 24 frames a second.

    Raises :class:`~penumbra.errors.OutputError` where it cannot be written.
    """
    options = {"movflags": "+faststart"}
    with written_whole(path) as temporary, av.open(str(temporary), "w", format="mp4", options=options) as container:
        writer = MovieWriter(container, fps or Fraction(24))
        yield writer
        writer.finish()
