"""Where the edges of layers' alphas lie, beside the truth's.

    python benchmarks/lift_edges.py CLIP OUT

CLIP is a clip with ground truth, as `penumbra synth` writes it; OUT what `penumbra decompose` made of it. An object's
true alpha outside all masks is what its solo render darkens the true background by. The edge is where alpha crosses
half the shadow's depth (the 90th percentile); the figures are the share of the true edge's length that has an edge of
the layer within a pixel, and of the layer's that has one of the truth's. Shadows shallower than 0.1 are left out.
Measured figures are kept in benchmarks/README.md.
"""

import sys
from pathlib import Path

import cv2
import numpy as np
import OpenImageIO as oiio

from penumbra.color import srgb_decode

REACH = 1.5  # pixel centres of neighbouring pixels, diagonals included
SQUARE = np.ones((3, 3), np.uint8)


def levels(path):
    """An 8-bit image as RGB or grey in [0, 1]."""
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.float32) / 255
    return image[..., 2::-1] if image.ndim == 3 else image


def alpha_of(out, name, number):
    """A written layer's alpha, H x W."""

    path = next(path for path in (out / name).glob(f"{name}.*.exr") if int(path.stem.rsplit(".", 1)[1]) == number)
    return oiio.ImageBuf(str(path)).get_pixels(oiio.FLOAT)[..., 3]


def edge(alpha, level):
    """Whether a pixel lies on the inner edge of what is above a level, after a little smoothing."""
    inside = (cv2.GaussianBlur(np.ascontiguousarray(alpha), (5, 5), 1) > level).astype(np.uint8)
    return (inside - cv2.erode(inside, SQUARE, borderValue=1)) > 0


def near(edge_pixels, others):
    """Of some edge pixels, the share with one of the others within reach; None where there are too few."""
    if np.count_nonzero(edge_pixels) < 30:
        return None
    if not others.any():
        return 0.0
    distance = cv2.distanceTransform((~others).astype(np.uint8), cv2.DIST_L2, 5)
    return float((distance[edge_pixels] <= REACH).mean())


def frame_figures(clip, out, number, count):
    """(found, true) per object of a frame."""
    background = clip / "bg.png" if (clip / "bg.png").exists() else clip / f"bg_{number:05d}.png"
    clean = np.maximum(srgb_decode(levels(background)), 1e-4)
    masks = np.max([levels(clip / f"mask{i}_{number:05d}.png") for i in range(count)], axis=0)
    free = cv2.dilate((masks > 0.02).astype(np.uint8), np.ones((7, 7), np.uint8)) == 0
    free[:2], free[-2:], free[:, :2], free[:, -2:] = False, False, False, False
    effects = [levels(clip / "gt" / f"mask{i}_{number:05d}.png") > 0.5 for i in range(count)]
    for i in range(count):
        solo = srgb_decode(levels(clip / "solo" / f"obj{i}_{number:05d}.png"))
        truth = np.clip(1 - (solo / clean).min(-1), 0, 1).astype(np.float32)
        own = effects[i] & free
        depth = np.percentile(truth[own], 90) if np.count_nonzero(own) > 50 else 0
        if depth > 0.1:
            theirs = edge(truth, depth / 2)
            ours = edge(alpha_of(out, f"obj{i}", number), depth / 2)
            others = np.any([e for j, e in enumerate(effects) if j != i], axis=0) if count > 1 else False
            yield near(theirs & free, ours), near(ours & free & ~others, theirs)


def main():
    clip, out = Path(sys.argv[1]), Path(sys.argv[2])
    numbers = [int(path.stem.split("_")[1]) for path in sorted(clip.glob("rgba_*.png"))]
    count = len(list(clip.glob(f"mask*_{numbers[0]:05d}.png")))
    pairs = [pair for number in numbers for pair in frame_figures(clip, out, number, count)]
    for name, values in zip(("true edge found", "edge true"), zip(*pairs, strict=True), strict=True):
        known = [value for value in values if value is not None]
        print(f"{name}: {np.mean(known):.3f} of the length, over {len(known)} objects and frames")


if __name__ == "__main__":
    main()
