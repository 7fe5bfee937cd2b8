"""The previews: a contact sheet of a few frames and a movie of all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from penumbra.errors import Stopped
from penumbra.frames import Footage, Plate, Region
from penumbra.write.contact_sheet import draw_sheet, save_picture
from penumbra.write.movie import MAX_WIDTH, columns_of, draw_grid, movie
from penumbra.write.tiles import (
    FrameSketch,
    FrameTiles,
    Picture,
    frame_tiles,
    keep_tiles,
    kept_tiles,
    tile_size,
    tile_titles,
)

_SHEET_ROWS = 6
_SHEET_CELL, _SHEET_WIDTH = 320, 4096
_MOVIE_CELL, _LEAST_CELL = 480, 192


def write_previews(
    folder: Path,
    footage: Footage,
    names: Sequence[str],
    order_of: Callable[[int], Sequence[str]],
    read_plate: Callable[[int], Plate],
    on_progress: Callable[[int, int], None],
    should_stop: Callable[[], bool],
    kept: Path | None = None,
) -> tuple[Path, Path]:
    """Draws ``preview/contact_sheet.png`` and ``preview/preview.mp4`` from the written files; returns their paths.

    ``names`` in the order of the columns; ``order_of(frame)`` the same, back to front. Each frame is read once and made
    small at once, unless :func:`keep_pictures` kept its pictures in the folder ``kept`` when it was verified.
    ``on_progress(done, total)`` counts frames.

    Raises:
        OutputError: a layer file is missing or damaged, or a preview cannot be written.
        ColorSpaceError: the footage's space cannot be shown.
        Stopped: ``should_stop`` said so; neither preview is touched.
    """
    titles, count, size = tile_titles(names), len(footage.frames), _movie_size(footage, names)
    sheet_path, movie_path = preview_paths(folder)
    chosen, rows = _spread(footage.frames, _SHEET_ROWS), []
    with movie(movie_path, footage.fps) as film:
        for done, number in enumerate(footage.frames):
            if should_stop():
                raise Stopped("Stopped while drawing the previews.", "Run again with --resume.")
            tiles = None if kept is None else kept_tiles(_kept_path(kept, number), number)
            if tiles is None:
                tiles = frame_tiles(folder, footage, names, order_of(number), read_plate(number), size)
            film.add(draw_grid(titles, tiles))
            if number in chosen:
                rows.append(_for_sheet(tiles, footage, len(titles)))
            on_progress(done + 1, count)
    save_picture(sheet_path, draw_sheet(_title(footage), titles, rows))
    return sheet_path, movie_path


def preview_paths(folder: Path) -> tuple[Path, Path]:
    """Where the contact sheet and the movie of an output folder lie."""
    return folder / "preview" / "contact_sheet.png", folder / "preview" / "preview.mp4"


def sketch_pictures(footage: Footage, names: Sequence[str], data: Region) -> FrameSketch:
    """What takes the bands of a frame with this data window and makes the pictures that previews show of it."""
    return FrameSketch(footage, data, _movie_size(footage, names))


def keep_pictures(kept: Path, number: int, names: Sequence[str], sketch: FrameSketch) -> None:
    """Keeps a frame's pictures for :func:`write_previews`; raises :class:`OutputError` where that cannot be done."""
    keep_tiles(_kept_path(kept, number), sketch.tiles(number, names))


def _kept_path(kept: Path, number: int) -> Path:
    return kept / f"{number}.npz"


def _movie_size(footage: Footage, names: Sequence[str]) -> tuple[int, int]:
    # A small plate enlarged further shows nothing more, and drawing it would be half of the work on a short clip.
    largest = max(_LEAST_CELL, 2 * footage.display.width)
    return tile_size(footage, min(_MOVIE_CELL, largest, MAX_WIDTH // columns_of(len(tile_titles(names)))))


def _spread(frames: Sequence[int], count: int) -> frozenset[int]:
    """The first, the last and evenly spaced ones between."""
    places = np.linspace(0, len(frames) - 1, min(count, len(frames)))
    return frozenset(frames[round(place)] for place in places)


def _for_sheet(tiles: FrameTiles, footage: Footage, columns: int) -> FrameTiles:
    height, width = tile_size(footage, min(_SHEET_CELL, _SHEET_WIDTH // columns))
    smaller = width <= tiles.pictures[0].shape[1]
    pictures: list[Picture] = []
    for picture in tiles.pictures:
        resized = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
        pictures.append(np.asarray(resized, np.uint8))
    return FrameTiles(tiles.number, tuple(pictures), tiles.max_error)


def _title(footage: Footage) -> str:
    first, last = footage.frames[0], footage.frames[-1]
    return f"{Path(footage.path).name}   {footage.display.width}x{footage.display.height}   frames {first}-{last}"
