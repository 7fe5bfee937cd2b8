"""Clips on disk as arrays, for training and evaluation: the Kubric layout and the Omnimatte layout.

Kubric: ``rgba_00000.png``, ``mask0_00000.png`` of object 0, ``bg.png`` or ``bg_00000.png`` (true background),
``bg_est.png`` (estimated one), ``order.txt`` (objects back to front, a line per frame or one for all), optionally
``solo/obj0_00000.png``. Omnimatte: ``rgb/*.png``, ``mask/01/*.png`` and on, optionally ``bg_est.png`` and
``order.txt``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from penumbra.color import FloatArray
from penumbra.errors import FootageError, FootageNotFoundError, MissingFramesError, SizeMismatchError, UnreadableError


@dataclass(frozen=True)
class DiskClip:
    """A clip of N frames and K objects, display-encoded as its files are, [0, 1].

    ``frames`` (N, H, W, 3); ``masks`` (N, K, H, W); ``order`` (N, K) objects back to front; ``background`` the true
    one (N, H, W, 3) or None; ``estimated`` the estimated one (H, W, 3) or None; ``solo`` (N, K, H, W, 3) renders of
    each object alone, or None.
    """

    name: str
    numbers: tuple[int, ...]
    frames: FloatArray
    masks: FloatArray
    order: NDArray[np.int64]
    background: FloatArray | None = None
    estimated: FloatArray | None = None
    solo: FloatArray | None = None


@dataclass(frozen=True)
class ClipFiles:
    """Where a clip's images lie: N frames, K objects. Nothing is decoded.

    ``frames`` N paths; ``masks`` K times N; ``order`` (N, K) back to front; ``background`` N paths, or none; ``solo`` K
    times N, or none.
    """

    folder: Path
    numbers: tuple[int, ...]
    frames: tuple[Path, ...]
    masks: tuple[tuple[Path, ...], ...]
    order: NDArray[np.int64]
    background: tuple[Path, ...] = ()
    estimated: Path | None = None
    solo: tuple[tuple[Path, ...], ...] = ()


def list_clip(folder: Path) -> ClipFiles:
    """Finds a clip's files in whichever of the two layouts its folder has.

    Raises a subclass of :class:`FootageError` that names the file when frames are missing.
    """
    if any(folder.glob("rgba_*.png")):
        return _list_kubric(folder)
    if (folder / "rgb").is_dir():
        return _list_omnimatte(folder)
    raise FootageNotFoundError(
        f"{folder} holds no clip: neither rgba_00000.png and on nor a folder rgb.",
        "Give a folder in the Kubric or the Omnimatte layout.",
    )


def read_clip(folder: Path) -> DiskClip:
    """Reads a whole clip of either layout.

    Raises a subclass of :class:`FootageError` that names the file when frames are missing, damaged or of another size.
    """
    files = list_clip(folder)
    masks = [_stack([read_grey(path) for path in each], folder) for each in files.masks]
    # A still background is read once and repeated.
    behind = {path: read_colour(path) for path in files.background}
    solo = [[read_colour(path) for path in frame] for frame in zip(*files.solo, strict=True)]
    return _checked(
        DiskClip(
            name=folder.name,
            numbers=files.numbers,
            frames=_stack([read_colour(path) for path in files.frames], folder),
            masks=np.stack(masks, 1),
            order=files.order,
            background=_stack([behind[path] for path in files.background], folder) if behind else None,
            estimated=None if files.estimated is None else read_colour(files.estimated),
            solo=np.stack([_stack(row, folder) for row in solo]) if solo else None,
        )
    )


def find_clips(folder: Path) -> tuple[Path, ...]:
    """All clips in a folder: itself or, sorted, its subfolders. Raises when there is none."""
    candidates = [folder, *sorted(path for path in folder.glob("*") if path.is_dir())]
    clips = tuple(path for path in candidates if any(path.glob("rgba_*.png")) or (path / "rgb").is_dir())
    if not clips:
        raise FootageNotFoundError(f"No clip was found in {folder}.", "Give a folder of clips or one clip.")
    return clips


def _list_kubric(folder: Path) -> ClipFiles:
    numbers = _numbers(folder, "rgba")
    count = len({path.name.split("_")[0] for path in folder.glob(f"mask*_{numbers[0]:05d}.png")})
    if count == 0:
        raise FootageNotFoundError(f"{folder} holds no mask0_{numbers[0]:05d}.png.", "Add a mask for every object.")
    solo = (folder / "solo").is_dir()
    return ClipFiles(
        folder=folder,
        numbers=numbers,
        frames=tuple(folder / f"rgba_{n:05d}.png" for n in numbers),
        masks=tuple(tuple(_present(folder / f"mask{k}_{n:05d}.png") for n in numbers) for k in range(count)),
        order=_order(folder, len(numbers), count),
        background=_background(folder, numbers),
        estimated=folder / "bg_est.png" if (folder / "bg_est.png").exists() else None,
        solo=tuple(tuple(folder / "solo" / f"obj{k}_{n:05d}.png" for n in numbers) for k in range(count * solo)),
    )


def _list_omnimatte(folder: Path) -> ClipFiles:
    paths = tuple(sorted((folder / "rgb").glob("*.png")))
    if not paths:
        raise FootageNotFoundError(f"{folder / 'rgb'} holds no PNG.", "Put the frames there.")
    objects = sorted(path for path in (folder / "mask").glob("*") if path.is_dir())
    if not objects:
        raise FootageNotFoundError(f"{folder} holds no mask/01.", "Add a folder of masks for every object.")
    digits = [re.sub(r"\D", "", path.stem) for path in paths]
    return ClipFiles(
        folder=folder,
        numbers=tuple(int(text) if text else i for i, text in enumerate(digits)),
        frames=paths,
        masks=tuple(tuple(_present(each / path.name) for path in paths) for each in objects),
        order=_order(folder, len(paths), len(objects)),
        estimated=folder / "bg_est.png" if (folder / "bg_est.png").exists() else None,
    )


def _present(path: Path) -> Path:
    if not path.exists():
        raise MissingFramesError(f"{path} is missing.", "Add a mask for every frame.")
    return path


def _numbers(folder: Path, stem: str) -> tuple[int, ...]:
    found = sorted(int(path.stem.rsplit("_", 1)[1]) for path in folder.glob(f"{stem}_*.png"))
    missing = sorted(set(range(found[0], found[-1] + 1)) - set(found))
    if missing:
        raise MissingFramesError(f"{folder} lacks {stem}_{missing[0]:05d}.png.", "Add the missing frame.")
    return tuple(found)


def _background(folder: Path, numbers: tuple[int, ...]) -> tuple[Path, ...]:
    if (folder / "bg.png").exists():
        return (folder / "bg.png",) * len(numbers)
    if (folder / f"bg_{numbers[0]:05d}.png").exists():
        return tuple(folder / f"bg_{n:05d}.png" for n in numbers)
    return ()


def _order(folder: Path, frames: int, objects: int) -> NDArray[np.int64]:
    path = folder / "order.txt"
    if not path.exists():
        return np.tile(np.arange(objects, dtype=np.int64), (frames, 1))
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = [[int(word) for word in line.split()] for line in lines if line.strip()]
    except (ValueError, OSError) as error:
        raise UnreadableError(f"{path} is no list of object numbers: {error}.", "Write one line per frame.") from error
    if len(rows) == 1:
        rows = rows * frames
    if len(rows) != frames or any(sorted(row) != list(range(objects)) for row in rows):
        raise FootageError(
            f"{path} does not list {objects} objects for each of {frames} frames.",
            "Write one line per frame with every object's number, back to front.",
        )
    return np.array(rows, np.int64)


def _checked(clip: DiskClip) -> DiskClip:
    size = clip.frames.shape[1:3]
    others = {"mask": clip.masks.shape[2:4]}
    others |= {} if clip.background is None else {"background": clip.background.shape[1:3]}
    others |= {} if clip.estimated is None else {"estimated background": clip.estimated.shape[:2]}
    others |= {} if clip.solo is None else {"solo render": clip.solo.shape[2:4]}
    for what, other in others.items():
        if other != size:
            raise SizeMismatchError(
                f"The {what} of {clip.name} is {other[1]}x{other[0]}, its frames {size[1]}x{size[0]}.",
                "Make them the same size.",
            )
    return clip


def _stack(images: list[FloatArray], folder: Path) -> FloatArray:
    sizes = {image.shape for image in images}
    if len(sizes) > 1:
        raise SizeMismatchError(f"Images in {folder} differ in size: {sorted(sizes)}.", "Make them the same size.")
    return np.stack(images)


def read_colour(path: Path) -> FloatArray:
    """An image file as (H, W, 3) RGB in [0, 1]; raises a subclass of :class:`FootageError`."""
    return _unit(path, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)[..., ::-1]


def read_grey(path: Path) -> FloatArray:
    """An image file as (H, W) in [0, 1]; raises a subclass of :class:`FootageError`."""
    return _unit(path, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH)


def _unit(path: Path, flags: int) -> FloatArray:
    if not path.exists():
        raise MissingFramesError(f"{path} is missing.", "Add the missing file.")
    image = cv2.imread(str(path), flags)
    if image is None or image.dtype not in (np.uint8, np.uint16):
        raise UnreadableError(f"{path} cannot be decoded as an image.", "Write it again.")
    return np.asarray(image / np.iinfo(image.dtype).max, np.float32)
