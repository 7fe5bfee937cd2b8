"""Figures that set the layers beside each other, in the manner of the paper's supplement (figures 1 and 2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from penumbra.color import FloatArray, srgb_decode, srgb_encode
from penumbra.compositing import over
from penumbra.evaluate.figures import layer_path
from penumbra.evaluate.truth import Truth
from penumbra.frames import Region
from penumbra.write.contact_sheet import save_picture
from penumbra.write.exr import RGBA, read_exr
from penumbra.write.tiles import Picture
from penumbra.write.typography import FAINT_INK, blank, put_text

CLIPS_PER_PAGE = 6
CELL_WIDTH, MARGIN, GAP, BLOCK_GAP = 232, 24, 8, 26
HEADING_HEIGHT, NAME_HEIGHT, CAPTION_HEIGHT = 46, 30, 22
_CHECKER_SIZE, _CHECKER = 14, (0.18, 0.30)  # pixels; linear light, so that black shadows and white glints both show
_TITLE = "layers over a checkerboard; below each its effect IoU with the truth over the whole clip"


@dataclass(frozen=True)
class _Cell:
    """A picture of the clip's own size, and what stands below it."""

    picture: FloatArray
    caption: str = ""


def write_comparison(rows: Sequence[dict[str, Any]], clips: Sequence[Path], output: Path) -> list[Path]:
    """Draws ``comparison.png`` in ``output`` from the rows of :func:`~penumbra.evaluate.run.evaluate`; gives its path.

    A block for each clip with a line for each object; columns: the frame, the object's mask, its layer by every method
    in the rows' order over a checkerboard, and the truth. The frame shown is the one where the least of the objects'
    effects outside the masks is largest. More than six clips go onto numbered pages. Raises
    :class:`~penumbra.errors.OutputError` where a layer is missing or a picture cannot be written.
    """
    pages = [list(clips[start : start + CLIPS_PER_PAGE]) for start in range(0, len(clips), CLIPS_PER_PAGE)]
    paths = []
    for number, page in enumerate(pages, 1):
        path = output / ("comparison.png" if len(pages) == 1 else f"comparison_{number}.png")
        save_picture(path, _draw(rows, page, output))
        paths.append(path)
    return paths


def telling_frame(truth: Truth) -> int:
    """The frame number at which the object with the least effect outside the masks shows most of it."""

    def least(number: int) -> int:
        outside = ~np.any([truth.matte(f"mask{i}_{number:05d}.png") for i in range(len(truth.names))], axis=0)
        effects = [truth.matte(f"gt/mask{i}_{number:05d}.png") for i in range(len(truth.names))]
        return min(int((effect & outside).sum()) for effect in effects)

    return max(truth.numbers, key=least)


def true_layer(truth: Truth, index: int, number: int) -> FloatArray:
    """The faintest premultiplied linear RGBA that turns the true background into the render of one object alone.

    Where the object itself is seen (``amodal/``, where the clip has it) it is opaque.
    """
    solo = srgb_decode(truth.image(f"solo/obj{index}_{number:05d}.png"))
    background = srgb_decode(truth.background(number))
    need = np.clip(1 - (solo / np.maximum(background, 1e-4)).min(axis=-1), 0, 1)
    need = np.where(truth.matte(f"gt/mask{index}_{number:05d}.png"), need, 0)
    amodal = f"amodal/obj{index}_{number:05d}.png"
    if (truth.folder / amodal).is_file():
        need = np.maximum(need, truth.image(amodal)[..., 0])
    colour = np.maximum(solo - (1 - need[..., None]) * background, 0)
    # Differences below the threshold are rounding of 8 bits, not light.
    colour = np.where((need > 0)[..., None] | truth.matte(f"gt/mask{index}_{number:05d}.png")[..., None], colour, 0)
    return np.concatenate([colour, need[..., None]], axis=-1).astype(np.float32)


def _draw(rows: Sequence[dict[str, Any]], clips: Sequence[Path], output: Path) -> Picture:
    blocks = [(clip.name, list(_lines(rows, clip, output))) for clip in clips]
    titles = _titles([row for row in rows if row["clip"] == clips[0].name])
    heights = [_cell_height(lines) for _, lines in blocks]
    tall = sum(
        NAME_HEIGHT + len(lines) * (h + CAPTION_HEIGHT) + BLOCK_GAP
        for h, (_, lines) in zip(heights, blocks, strict=True)
    )
    wide = 2 * MARGIN + len(titles) * (CELL_WIDTH + GAP) - GAP
    sheet = blank(2 * MARGIN + HEADING_HEIGHT + NAME_HEIGHT + tall - BLOCK_GAP, wide)
    put_text(sheet, _TITLE, MARGIN, MARGIN + 8, 10, wide - 2 * MARGIN, ink=FAINT_INK)
    for column, title in enumerate(titles):
        put_text(sheet, title, _left(column), MARGIN + HEADING_HEIGHT, 13, CELL_WIDTH)
    top = MARGIN + HEADING_HEIGHT + NAME_HEIGHT
    for height, (name, lines) in zip(heights, blocks, strict=True):
        put_text(sheet, name, MARGIN, top + NAME_HEIGHT // 2, 12, wide - 2 * MARGIN, ink=FAINT_INK)
        top += NAME_HEIGHT
        for line in lines:
            _draw_line(sheet, line, top, height)
            top += height + CAPTION_HEIGHT
        top += BLOCK_GAP
    return sheet


def _draw_line(sheet: Picture, line: Sequence[_Cell | None], top: int, height: int) -> None:
    for column, cell in enumerate(line):
        if cell is None:
            continue
        left = _left(column)
        how = cv2.INTER_AREA if cell.picture.shape[1] > CELL_WIDTH else cv2.INTER_CUBIC
        picture = cv2.resize(cell.picture, (CELL_WIDTH, height), interpolation=how)
        sheet[top : top + height, left : left + CELL_WIDTH] = np.round(np.clip(picture, 0, 1) * 255)
        put_text(sheet, cell.caption, left, top + height + CAPTION_HEIGHT // 2, 10, CELL_WIDTH)


def _lines(rows: Sequence[dict[str, Any]], clip: Path, output: Path) -> Iterator[list[_Cell | None]]:
    """A line of cells for every object; the frame stands in the first line only."""
    truth = Truth.open(clip)
    number = telling_frame(truth)
    own = [row for row in rows if row["clip"] == clip.name]
    frame = _Cell(truth.image(f"rgba_{number:05d}.png"), f"frame {number}")
    for index, name in enumerate(truth.names):
        mask = _Cell(truth.image(f"mask{index}_{number:05d}.png"), name)
        region = Region(0, 0, frame.picture.shape[1], frame.picture.shape[0])
        layers = [
            _Cell(
                _over_checker(read_exr(layer_path(output / row["folder"], name, number), RGBA, region)),
                f"{row['effect_iou_per_object'][index]:.3f}",
            )
            for row in own
        ]
        yield [frame if index == 0 else None, mask, *layers, _Cell(_over_checker(true_layer(truth, index, number)))]


def _over_checker(layer: FloatArray) -> FloatArray:
    """A layer over grey squares that are of one size on the sheet, whatever the clip's; sRGB."""
    height, width = layer.shape[:2]
    rows, columns = (np.arange(n) * CELL_WIDTH // width // _CHECKER_SIZE for n in (height, width))
    squares = np.where(np.add.outer(rows, columns) % 2, *_CHECKER)
    board = np.repeat(squares[..., None], 3, axis=-1).astype(np.float32)
    return srgb_encode(np.clip(over(layer, board), 0, 1))


def _titles(rows: Sequence[dict[str, Any]]) -> list[str]:
    names = [row["method"] if row["refine"] == "-" else f"{row['method']}, {_words(row['refine'])}" for row in rows]
    return ["frame", "mask", *names, "truth"]


def _words(refine: str) -> str:
    if refine == "off":
        return "zero-shot"
    return f"{refine} steps" if refine.isdigit() else refine


def _cell_height(lines: Sequence[Sequence[_Cell | None]]) -> int:
    picture = next(cell.picture for cell in lines[0] if cell is not None)
    height, width = picture.shape[:2]
    return CELL_WIDTH * int(height) // int(width)


def _left(column: int) -> int:
    return MARGIN + column * (CELL_WIDTH + GAP)
