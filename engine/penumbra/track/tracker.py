"""The camera of a clip, found in its plate."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Sequence as Numbers

import cv2
import numpy as np
from numpy.typing import NDArray

from penumbra.errors import Stopped
from penumbra.frames import BoolArray
from penumbra.track.camera import CameraTrack, locked_camera
from penumbra.track.chain import Placement, chain
from penumbra.track.geometry import (
    Matrices,
    best_reference,
    displacement,
    normalised,
    overlap,
    proxy_to_plate,
    rebased,
)
from penumbra.track.refine import Sequence, edges_held, measure, place, sources_of

SWEEPS = 3
STILL = 4.0  # proxy pixels: farther than this from where it began, by its features, a camera is moving for certain
LOCKED = 0.1  # proxy pixels: typical displacement that sensors, lights and compression give a locked-off camera
SMALL = 13.0  # added per pixel of width: a small picture has less to fit to
NO_GAIN = 0.985  # residual after moving over residual before, above which moving explains nothing
# The same where no frame is farther than so many proxy pixels from where it began: shadows that nobody masked move as
# much on ground without edges.
LITTLE, LITTLE_GAIN = 0.5, 0.95
POOR = 8.0  # 8-bit levels of median residual
FEW = 0.5  # share of pixels that follow the camera
MOVED = 1.0  # proxy pixels: by less it does not matter whether a camera moves
LOST, IN_DOUBT = 0.25, 0.8  # share of frames not followed, from which on a few edges fewer may stay than follow
SHARED = 0.5  # of a frame that another must see to be compared with it
PAIRS = 16  # of frames, compared for whether edges stay or follow
_MOVING_BACKGROUND = (
    "More of the background's edges stay where they are than follow any camera: it is taken as locked off, before water"
    " or something else that moves. If the camera moves, give --camera its homographies."
)


def track_camera(
    numbers: Numbers[int],
    luma: NDArray[np.uint8],
    occupied: BoolArray,
    scale: tuple[float, float],
    on_progress: Callable[[int, int], None],
    should_stop: Callable[[], bool],
) -> CameraTrack:
    """Follows the background of a clip.

    ``luma``: (N, h, w) uint8, display-encoded luminance of the plate, reduced by averaging areas to about 960 pixels
    in width or less. ``occupied``: (N, h, w), True inside any object's mask. Both may be memory maps; frames are
    read one at a time. ``scale``: plate pixels per proxy pixel in x and y; x_plate = (x_proxy + 0.5) * scale_x - 0.5.
    ``on_progress``: units done, units in all. The same input gives the same bits. A clip without anything to follow
    is taken as locked off, with a warning; a frame that cannot be placed takes its neighbours' motion, with a warning.
    Raises :class:`Stopped` when ``should_stop`` says so.
    """
    cv2.setRNGSeed(0)
    sequence = Sequence(luma, occupied)
    if len(numbers) != len(sequence):
        raise ValueError(f"{len(numbers)} frame numbers for {len(sequence)} frames")
    tick = _Progress(len(sequence) * (SWEEPS + 2), on_progress, should_stop)
    if len(sequence) == 1:
        return locked_camera(numbers)
    placement = chain(sequence, tick)
    if not (placement.scene[1:] >= 0).any():
        sentence = "The camera could not be followed at any frame: the picture outside the masks has too little detail."
        return locked_camera(numbers, [f"{sentence} It is taken as locked off."])
    locked, aside = _is_locked(sequence, placement), []
    if not locked:
        homographies = _refined(sequence, placement, tick)
        locked = _stands(sequence, homographies, placement.scene)
        aside = [_MOVING_BACKGROUND] if locked else []
    if locked:
        homographies, reference = np.tile(np.eye(3), (len(sequence), 1, 1)), 0
    else:
        reference = best_reference(homographies, sequence.size)
        homographies = rebased(homographies, reference)
    scene = np.zeros_like(placement.scene) if locked else placement.scene
    quality, inliers = _measured(sequence, homographies, scene, tick)
    tick.finish()
    warnings = aside if locked else _warnings(numbers, placement, quality, inliers)
    plate = homographies if locked else proxy_to_plate(homographies, scale)
    return CameraTrack(tuple(numbers), plate, reference, locked, quality, inliers, tuple(warnings))


class _Progress:
    """Counts units of work, tells the caller, and stops when asked."""

    def __init__(self, total: int, on_progress: Callable[[int, int], None], should_stop: Callable[[], bool]) -> None:
        self._done, self._total, self._tell, self._stop = 0, total, on_progress, should_stop

    def __call__(self) -> None:
        if self._stop():
            raise Stopped("Tracking was stopped.", "Start the job again to track the camera.")
        self._done += 1
        self._tell(self._done, self._total)

    def finish(self) -> None:
        if self._done < self._total:
            self._tell(self._total, self._total)


def _is_locked(sequence: Sequence, placement: Placement) -> bool:
    """Whether moving the frames explains anything that grain does not."""
    found = np.flatnonzero(placement.scene == 0)
    by_features = displacement(placement.homographies[found], sequence.size).max()
    if placement.scene.max() > 0 or by_features > STILL:
        return False
    identity = np.tile(np.eye(3), (len(sequence), 1, 1))
    distances, gains = [], []
    for index in np.unique(found[np.linspace(0, len(found) - 1, 24).astype(int)]).tolist():
        fit = place(sequence, identity, index, sources_of(identity, index, placement.scene, sequence.size))
        if fit is not None:
            distances.append(float(displacement(fit.homography, sequence.size)))
            gains.append(fit.after / max(fit.before, 1e-6))
    if len(distances) < 2:
        # Too little detail to be told finer than by features.
        return bool(by_features < MOVED)
    if max(distances) > STILL:
        return False
    # A quarter of the frames may fit badly by chance.
    limit = LOCKED + SMALL / sequence.size[1]
    small = np.quantile(distances, 0.75) < limit and max(distances) < 3 * limit
    return bool(small or np.quantile(gains, 0.25) > (LITTLE_GAIN if max(distances) < LITTLE else NO_GAIN))


def _stands(sequence: Sequence, homographies: Matrices, scene: NDArray[np.int64]) -> bool:
    """Whether as many edges stay where they are as follow the camera that was found: it followed water, or a crowd.

    Told from frames half a clip apart: what rests is in its place then, too, and what moves by itself is not.
    """
    held = np.zeros(2, np.int64)
    found, inverses = np.flatnonzero(scene >= 0), np.linalg.inv(homographies)
    for index in np.unique(found[np.linspace(0, len(found) - 1, PAIRS).astype(int)]).tolist():
        relative = normalised(inverses @ homographies[index])
        # Where the camera is back at the same place, or sees another one, the two say the same or nothing.
        telling = (displacement(relative, sequence.size) > MOVED) & (overlap(relative, sequence.size) > SHARED)
        others = np.flatnonzero(telling & (scene == scene[index]))
        if len(others):
            other = int(others[np.argmin(np.abs(np.abs(others - index) - len(sequence) / 2))])
            held += edges_held(sequence, index, other, np.stack([np.eye(3), relative[other]]))
    # Where many frames could not be followed, neither explains much, and no camera is likelier than one of noise.
    doubtful = float((scene < 0).mean()) > LOST
    return bool(held.any() and held[0] >= (IN_DOUBT if doubtful else 1) * held[1])


def _refined(sequence: Sequence, placement: Placement, tick: _Progress) -> Matrices:
    homographies, scene = placement.homographies.copy(), placement.scene
    for sweep in range(SWEEPS):
        order: Iterable[int] = range(len(sequence)) if sweep % 2 == 0 else reversed(range(len(sequence)))
        for index in order:
            tick()
            if scene[index] >= 0:
                fit = place(sequence, homographies, index, sources_of(homographies, index, scene, sequence.size))
                homographies[index] = homographies[index] if fit is None else fit.homography
    return homographies


def _measured(
    sequence: Sequence, homographies: Matrices, scene: NDArray[np.int64], tick: _Progress
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    figures = []
    for index in range(len(sequence)):
        tick()
        sources = sources_of(homographies, index, scene, sequence.size)
        figures.append(measure(sequence, homographies, index, sources))
    quality, inliers = np.array(figures, np.float32).T
    return np.ascontiguousarray(quality), np.ascontiguousarray(inliers)


def _warnings(
    numbers: Numbers[int], placement: Placement, quality: NDArray[np.float32], inliers: NDArray[np.float32]
) -> list[str]:
    sentences = []
    lost = [numbers[index] for index in np.flatnonzero(placement.scene < 0).tolist()]
    if lost:
        sentences.append(f"The camera could not be followed at {_frames(lost)}: neighbouring frames' motion is used.")
    for index in _scene_starts(placement.scene):
        sentences.append(f"The picture changes abruptly at frame {numbers[index]}: if it is a cut, split the clip.")
    poor = (placement.scene >= 0) & ((quality > POOR) | (inliers < FEW))
    if poor.any():
        named = _frames([numbers[index] for index in np.flatnonzero(poor).tolist()])
        sentences.append(f"The background fits the camera's motion badly at {named}: look at the clean plate there.")
    return sentences


def _scene_starts(scene: NDArray[np.int64]) -> list[int]:
    return [int(np.flatnonzero(scene == number)[0]) for number in range(1, int(scene.max()) + 1)]


def _frames(numbers: list[int]) -> str:
    """``frame 7``, ``frames 7-9 and 12``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    texts = [f"{run[0]}" if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    listed = texts[0] if len(texts) == 1 else ", ".join(texts[:-1]) + " and " + texts[-1]
    return f"frame {listed}" if len(numbers) == 1 else f"frames {listed}"
