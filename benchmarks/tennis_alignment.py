"""How well tracked homographies align the tennis clip, beside the data set's own.

Figure: mean over mosaic pixels seen by at least five frames of the median absolute deviation, over frames, of warped
unmasked pixels from their median; 8-bit levels, mean of the three channels, at the clip's own 448x256. Both tracks are
measured by the same code, in the coordinates of the same frames.
"""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np

from penumbra.color import LinearSpace
from penumbra.frames import Footage, Region
from penumbra.track import read_homographies, track_camera

CLIP = Path(__file__).parents[1].parent / "shared" / "data" / "real" / "tennis"


def load(clip: Path = CLIP) -> tuple[np.ndarray, np.ndarray]:
    """Frames (N, h, w, 3) uint8 and masks (N, h, w) bool."""
    frames = [cv2.imread(str(p)) for p in sorted((clip / "rgb").glob("*.png"))]
    masks = [cv2.imread(str(p), cv2.IMREAD_GRAYSCALE) > 127 for p in sorted((clip / "mask" / "01").glob("*.png"))]
    return np.stack(frames), np.stack(masks)


def footage_of(frames: np.ndarray) -> Footage:
    region = Region(0, 0, frames.shape[2], frames.shape[1])
    space = LinearSpace("lin_rec709")
    return Footage(str(CLIP), tuple(range(1, len(frames) + 1)), region, region, space, "srgb")


def deviation(frames: np.ndarray, masks: np.ndarray, homographies: np.ndarray, reference: int) -> tuple[float, float]:
    """(mean, median) over pixels of the median absolute deviation from the median, in frame ``reference``'s view."""
    to_view = np.linalg.inv(homographies[reference]) @ homographies
    size = (frames.shape[2], frames.shape[1])
    stack = np.full(frames.shape, np.nan, np.float32)
    for frame, mask, homography, out in zip(frames, masks, to_view, stack, strict=True):
        free = cv2.erode((~mask).astype(np.uint8), np.ones((9, 9), np.uint8))
        inside = np.zeros(mask.shape, np.uint8)
        inside[2:-2, 2:-2] = 1
        warped = cv2.warpPerspective(frame.astype(np.float32), homography, size, flags=cv2.INTER_LINEAR)
        seen = cv2.warpPerspective(free * inside, homography, size, flags=cv2.INTER_NEAREST) > 0
        out[seen] = warped[seen]
    enough = (~np.isnan(stack[..., 0])).sum(0) >= 5
    values = stack[:, enough]
    from_median = np.abs(values - np.nanmedian(values, axis=0))
    figures = np.nanmedian(from_median, axis=0).mean(-1)
    return float(figures.mean()), float(np.median(figures))


def main() -> None:
    if not CLIP.exists():
        raise SystemExit(f"The tennis clip is not at {CLIP}.")
    frames, masks = load()
    footage = footage_of(frames)
    luma = np.stack([cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) for frame in frames])
    started = time.perf_counter()
    ours = track_camera(footage.frames, luma, masks, (1.0, 1.0), lambda done, total: None, lambda: False)
    seconds = time.perf_counter() - started
    theirs = read_homographies(CLIP / "homographies.txt", footage)
    print(f"tracked {len(frames)} frames in {seconds:.1f} s; median quality {np.median(ours.quality):.2f}")
    print("\n".join(ours.warnings))
    print(f"{'view of frame':>14} {'theirs mean':>12} {'ours mean':>12} {'theirs median':>14} {'ours median':>12}")
    figures = []
    for reference in (0, 17, 35, 52, 69):
        pair = [deviation(frames, masks, track.homographies, reference) for track in (theirs, ours)]
        figures.append(pair)
        print(f"{reference + 1:>14} {pair[0][0]:12.3f} {pair[1][0]:12.3f} {pair[0][1]:14.3f} {pair[1][1]:12.3f}")
    means = np.mean(figures, axis=0)
    print(f"{'all':>14} {means[0, 0]:12.3f} {means[1, 0]:12.3f} {means[0, 1]:14.3f} {means[1, 1]:12.3f}")


if __name__ == "__main__":
    main()
