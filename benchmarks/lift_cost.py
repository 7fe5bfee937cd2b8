"""What lifting a 3840x2160 frame with two objects costs, beside laying its layers over each other again.

    python benchmarks/lift_cost.py [HEIGHT WIDTH]

Processor seconds of `lift_frame` over those of one `recompose` of its result in the same run; of a frame whose
background moves by itself everywhere over those of one at rest; and the most memory it holds beyond plate, clean plate
and masks. A made-up frame: two objects, their soft shadows, grain, a fifth of the picture owned. Measured figures are
kept in benchmarks/README.md.
"""

import sys
import time
import tracemalloc

import cv2
import numpy as np

from penumbra.color import DisplayEncoding
from penumbra.compositing import recompose
from penumbra.frames import Plate, Region
from penumbra.lift import Noise, lift_frame
from penumbra.lift.precision import Precision


def ellipse(shape, centre, axes, soft):
    """A filled ellipse, H x W in [0, 1], in shares of the frame."""
    height, width = shape
    region = np.zeros(shape, np.float32)
    middle, size = ((round(x * width), round(y * height)) for x, y in (centre, axes))
    cv2.ellipse(region, middle, size, 0, 0, 360, 1, -1)
    return cv2.GaussianBlur(region, (0, 0), soft)


def frame(shape):
    """Plate, clean plate, masks and a network's small layers."""
    rng = np.random.default_rng(0)
    clean = cv2.resize(rng.random((30, 50, 3)).astype(np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC)
    clean = np.clip(clean, 0.05, 1)
    masks = [ellipse(shape, (x, 0.46), (0.08, 0.27), 1) for x in (0.23, 0.7)]
    shadows = [ellipse(shape, (x, 0.76), (0.22, 0.09), 6) for x in (0.34, 0.78)]
    plate = clean * (1 + 0.01 * rng.standard_normal((*shape, 1)).astype(np.float32))
    plate *= 1 - 0.5 * np.maximum(*shadows)[..., None]
    for mask, colour in zip(masks, ((0.8, 0.2, 0.1), (0.1, 0.2, 0.9)), strict=True):
        plate += mask[..., None] * (np.array(colour, np.float32) - plate)
    low = np.full((2, 64, 112, 4), 0.3, np.float32)
    for layer, mask, shadow in zip(low, masks, shadows, strict=True):
        small = cv2.resize(np.maximum(mask, 0.5 * shadow), (112, 64), interpolation=cv2.INTER_AREA)
        layer[..., 3] = np.clip(cv2.GaussianBlur(small, (0, 0), 0.7), 0.0025, 0.9975)
    return plate.astype(np.float16).astype(np.float32), clean, masks, low


def seconds(work):
    """Processor seconds of all threads, the second of two runs."""
    for _ in range(2):
        start = time.process_time()
        result = work()
        spent = time.process_time() - start
    return spent, result


def main():
    shape = tuple(int(value) for value in sys.argv[1:3]) or (2160, 3840)
    plate, clean, masks, low = frame(shape)
    region = Region(0, 0, shape[1], shape[0])
    given = (Plate(1, plate, region, region), clean, masks, low, ("a", "b"), np.array([0, 1]), DisplayEncoding())
    tracemalloc.start()
    stack = lift_frame(*given, Noise(0.002), Precision.HALF)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    result = stack.background.nbytes + sum(layer.pixels.nbytes for layer in stack.layers)
    unit, _ = seconds(lambda: recompose(stack))
    spent, _ = seconds(lambda: lift_frame(*given, Noise(0.002), Precision.HALF))
    moving = np.full(shape, 6 / 255, np.float32)
    calm, restless = (
        seconds(lambda moved=moved: lift_frame(*given, Noise(0.002), Precision.HALF, moved))[0]
        for moved in (moving / 6, moving)
    )
    owned = np.mean(np.maximum.reduce([layer.pixels[..., 3] for layer in stack.layers]) > 0)
    print(f"{shape[1]}x{shape[0]}, {owned:.0%} owned")
    print(f"lift: {spent / unit:.1f} x recompose ({spent:.2f} s of processor, all threads)")
    print(f"restless everywhere: {restless / calm:.2f} x a background at rest")
    print(f"memory: {peak / result:.2f} x the result ({peak / 2**20:.0f} MB, the result included)")


if __name__ == "__main__":
    main()
