"""What the camera's plane does not explain: rolling shutter, mild parallax, lens breathing, as a small smooth flow.

Per frame, dense optical flow between the frame and the clean plate as it sees it, outside the masks. Its size is the
frame's score; where bending the clean plate by it brings the two closer, the clean plate is bent.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from penumbra.color import FloatArray
from penumbra.frames import BoolArray

STIFFNESS = 0.015  # of the small width: standard deviation of the smoothing; a shadow's rim must not bend the ground
HELPS = 0.9  # residual after over residual before, below which bending is worth it
NOTICED = 0.3  # pixels of the plate
TEXTURED = 0.6  # share of free pixels whose slopes are too weak to tell motion
FARTHEST = 0.02  # of the small width: farther than this it is not mild


@dataclass(frozen=True)
class Bend:
    """``misfit``: pixels of the plate by which nine tenths of the textured background depart from the camera's plane at
    most. ``flow`` (h, w, 2) float16, small: a small pixel's place in the clean plate's view less its own, in pixels of
    the plate; None where bending does not help.
    """

    misfit: float
    flow: NDArray[np.float16] | None


def small_levels(encoded: FloatArray) -> NDArray[np.uint8]:
    """Display values (h, w) in 8-bit levels, which optical flow asks for."""
    return np.asarray(np.clip(np.rint(encoded * 255), 0, 255), np.uint8)


def measure_bend(frame: FloatArray, view: FloatArray, free: BoolArray, block: tuple[float, float]) -> Bend:
    """Compares a small frame with the clean plate's small view (h, w), display-encoded, where ``free`` (h, w)."""
    told = free & _textured(view, free)
    if told.sum() < 200:
        return Bend(float("nan"), None)
    shown = np.where(free, frame, view)
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    raw = np.asarray(finder.calc(small_levels(shown), small_levels(view), None), np.float32)
    limit = FARTHEST * frame.shape[1]
    told &= (np.abs(raw) < limit).all(-1)
    flow = _smooth(raw, told)
    scale = np.array([block[1], block[0]], np.float32)
    misfit = float(np.quantile(np.linalg.norm(flow[told] * scale, axis=-1), 0.9)) if told.any() else float("nan")
    if not misfit > NOTICED:
        return Bend(misfit, None)
    before, after = (float(np.abs(frame - seen)[told].mean()) for seen in (view, bent(view, flow)))
    return Bend(misfit, (flow * scale).astype(np.float16) if after < HELPS * before else None)


def bent(image: FloatArray, flow: FloatArray) -> FloatArray:
    """An image (H, W) or (H, W, C) taken from where a flow (H, W, 2), in its pixels, points."""
    y, x = np.indices(flow.shape[:2], np.float32)
    return np.asarray(
        cv2.remap(image, x + flow[..., 0], y + flow[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE),
        np.float32,
    )


def enlarged(flow: NDArray[np.float16], size: tuple[int, int]) -> FloatArray:
    """A small flow, in pixels of the plate, at the plate's size."""
    large = cv2.resize(flow.astype(np.float32), (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(large, np.float32)


def _textured(view: FloatArray, free: BoolArray) -> BoolArray:
    slope = np.hypot(cv2.Sobel(view, cv2.CV_32F, 1, 0), cv2.Sobel(view, cv2.CV_32F, 0, 1))
    strong: BoolArray = slope > max(float(np.quantile(slope[free], TEXTURED)) if free.any() else 0.0, 4 / 255)
    return strong


def _smooth(flow: FloatArray, told: BoolArray) -> FloatArray:
    """Averaged over the pixels that tell, far enough to cross gaps: ever wider where they are few."""
    weight, total = told.astype(np.float32), flow * told[..., None]
    sigma = STIFFNESS * flow.shape[1]
    near, far = ((cv2.GaussianBlur(weight, (0, 0), s), cv2.GaussianBlur(total, (0, 0), s)) for s in (sigma, 5 * sigma))
    wide = far[1] / np.maximum(far[0], 1e-4)[..., None]
    # As if a fiftieth of the pixels around told the wider average.
    return np.asarray((near[1] + 0.02 * wide) / (near[0] + 0.02)[..., None], np.float32)
