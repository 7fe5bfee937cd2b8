"""What is known of the camera: a homography per frame, and how well each frame fits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penumbra.errors import CameraError
from penumbra.track.geometry import Matrices, normalised

TRACK_VERSION = 1


@dataclass(frozen=True, eq=False)
class CameraTrack:
    """One homography per frame.

    ``homographies``: (N, 3, 3) float64; maps pixel coordinates of frame n's canvas array (x right, y down, pixel
    centres at integers, the array's first pixel at 0, 0) to those of the frame at index ``reference``, with
    H[2, 2] = 1. ``locked``: the camera does not move and every homography is exactly the identity. ``quality``: (N,)
    float32, median absolute difference in 8-bit display levels between the frame and the median of the frames that
    see the same place, outside masks, after exposure is matched; NaN where it could not be measured. ``inliers``:
    (N,) float32, share in [0, 1] of the measured pixels that follow the camera. ``warnings``: sentences for the user.
    """

    numbers: tuple[int, ...]
    homographies: Matrices
    reference: int
    locked: bool
    quality: NDArray[np.float32]
    inliers: NDArray[np.float32]
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.numbers)
        if self.homographies.shape != (count, 3, 3) or self.homographies.dtype != np.float64:
            raise ValueError(f"{count} frames need {count} float64 3x3 homographies")
        if not np.isfinite(self.homographies).all() or not 0 <= self.reference < max(count, 1):
            raise ValueError("a camera track needs finite homographies and a reference among its frames")
        if self.quality.shape != (count,) or self.inliers.shape != (count,):
            raise ValueError(f"{count} frames need {count} qualities and inlier shares")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, exact to the bit; what :meth:`from_dict` reads."""
        return {
            "penumbra_camera": TRACK_VERSION,
            "numbers": list(self.numbers),
            "reference": self.reference,
            "locked": self.locked,
            "homographies": self.homographies.reshape(-1, 9).tolist(),
            "quality": _numbers_or_none(self.quality),
            "inliers": _numbers_or_none(self.inliers),
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_dict(cls, data: Any) -> CameraTrack:
        """Raises :class:`CameraError` when the data is no camera track of a version we know."""
        try:
            return cls._from_dict(data)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise CameraError("The camera data is not a Penumbra camera track.", "Track the clip again.") from error

    @classmethod
    def _from_dict(cls, data: Any) -> CameraTrack:
        if data["penumbra_camera"] != TRACK_VERSION:
            raise ValueError("unknown version")
        numbers = tuple(int(number) for number in data["numbers"])
        homographies = np.array(data["homographies"], np.float64).reshape(len(numbers), 3, 3)
        return cls(
            numbers=numbers,
            homographies=normalised(homographies),
            reference=int(data["reference"]),
            locked=bool(data["locked"]),
            quality=_floats(data.get("quality"), len(numbers)),
            inliers=_floats(data.get("inliers"), len(numbers)),
            warnings=tuple(str(sentence) for sentence in data.get("warnings", ())),
        )


def locked_camera(numbers: Sequence[int], warnings: Sequence[str] = ()) -> CameraTrack:
    """The track of a camera that does not move, taken on trust: quality is NaN, nothing is measured."""
    count = len(numbers)
    unknown = np.full(count, np.nan, np.float32)
    identity = np.tile(np.eye(3), (count, 1, 1))
    return CameraTrack(tuple(numbers), identity, 0, True, unknown, unknown.copy(), tuple(warnings))


def _numbers_or_none(values: NDArray[np.float32]) -> list[float | None]:
    return [float(value) if math.isfinite(value) else None for value in values]


def _floats(values: Sequence[float | None] | None, count: int) -> NDArray[np.float32]:
    filled = [None] * count if values is None else values
    return np.array([np.nan if value is None else value for value in filled], np.float32)
