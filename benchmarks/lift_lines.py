"""Layers at a clip's full size against layers of the same clip made small: which are nearer to the truth?

    python benchmarks/lift_lines.py [CLIP [LINES]]

CLIP is a clip with ground truth, as `penumbra synth` writes it; bench/hd by default, LINES 128. Both are taken apart
with the shipped weights, no refinement. Per size: the intersection over union of changed regions (the authors'
threshold), over the whole picture; outside the masks; and where no mask covers anything at all. A small picture has
pixels that are half object, half ground, along every silhouette: they count as outside the mask, and as effect, and are
found without finding any effect. Measured figures are kept in benchmarks/README.md.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import OpenImageIO as oiio

from penumbra.color import srgb_decode, srgb_encode

CLIP = Path(__file__).parents[1].parent / "shared/data/bench/hd/shadows_2obj_s4001"


def levels(path):
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.float32) / 255
    return image[..., 2::-1] if image.ndim == 3 else image


def changed(one, other):
    return (((one - other) * 255) ** 2).sum(-1) > 63.75


def make_small(clip, folder, lines):
    """The clip's plates, masks, backgrounds and solo renders, averaged in linear light."""
    for path in [*clip.glob("*.png"), *clip.glob("solo/*.png")]:
        image = levels(path)
        width = round(image.shape[1] * lines / image.shape[0] / 2) * 2
        light = srgb_decode(image) if image.ndim == 3 else image
        small = cv2.resize(light, (width, lines), interpolation=cv2.INTER_AREA)
        shown = srgb_encode(small)[..., ::-1] if small.ndim == 3 else small
        target = folder / path.relative_to(clip)
        target.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(target), np.round(np.clip(shown, 0, 1) * 255).astype(np.uint8))
    return folder


def take_apart(clip, out, objects):
    masks = [word for k in range(objects) for word in ("--mask", f"obj{k}={clip}/mask{k}_%05d.png")]
    command = [sys.executable, "-m", "penumbra", "decompose", f"{clip}/rgba_%05d.png", *masks, "-o", str(out)]
    subprocess.run([*command, "--refine", "off", "--no-previews", "--json"], check=True, stdout=subprocess.DEVNULL)


def figures(clip, out, number, objects):
    """(whole, outside, untouched) for every object of a frame."""
    background = clip / "bg.png" if (clip / "bg.png").exists() else clip / f"bg_{number:05d}.png"
    truth = levels(background)
    covered = np.max([levels(clip / f"mask{k}_{number:05d}.png") for k in range(objects)], axis=0)
    for k in range(objects):
        pixels = oiio.ImageBuf(str(out / f"obj{k}/obj{k}.{number:05d}.exr")).get_pixels(oiio.FLOAT)
        solo = srgb_encode(np.clip(pixels[..., :3] + (1 - pixels[..., 3:]) * srgb_decode(truth), 0, 1))
        ours, theirs = changed(solo, truth), changed(levels(clip / f"solo/obj{k}_{number:05d}.png"), truth)
        regions = (np.ones_like(ours), covered <= 0.5, covered < 1 / 255)
        yield [(ours & theirs & r).sum() / max(1, ((ours | theirs) & r).sum()) for r in regions]


def main():
    clip = Path(sys.argv[1]) if len(sys.argv) > 1 else CLIP
    if not clip.exists():
        print(f"{clip} is not there: nothing measured")
        return
    lines = int(sys.argv[2]) if len(sys.argv) > 2 else 128
    numbers = sorted(int(re.search(r"(\d+)$", path.stem)[1]) for path in clip.glob("rgba_*.png"))
    objects = len(list(clip.glob(f"mask*_{numbers[0]:05d}.png")))
    with tempfile.TemporaryDirectory() as temporary:
        sizes = {"full size": clip, f"{lines} lines": make_small(clip, Path(temporary) / "small", lines)}
        for name, source in sizes.items():
            out = Path(temporary) / name.replace(" ", "_")
            take_apart(source, out, objects)
            rows = [row for number in numbers for row in figures(source, out, number, objects)]
            print(f"{name}: iou %.4f, outside masks %.4f, where no mask is %.4f" % tuple(np.mean(rows, axis=0)))


if __name__ == "__main__":
    main()
