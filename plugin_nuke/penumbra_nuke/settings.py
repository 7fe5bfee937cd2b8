"""What the artist set on a node, and the job it makes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional, Tuple

from penumbra.errors import JobError
from penumbra.job import (
    CameraSettings,
    CleanPlateSettings,
    FrameRange,
    Job,
    MaskSettings,
    ModelSettings,
    OrderSettings,
    OutputSettings,
    PlateSettings,
    RefineSettings,
    check_object_name,
)
from penumbra.layer_graph import portable_path

# A folder no object can be called, since their names have no hyphen.
INPUTS_FOLDER = "from-nuke"
# The input behind those of the masks; nothing needs to be plugged in there.
CLEAN_INPUT = "clean_plate"
# What other nodes inside the node are called.
TAKEN_NAMES = ("plate", "masks", CLEAN_INPUT, "output1")
ONE_INPUT_EACH = "one input each"
CHANNELS_OF_ONE = "channels of one input"
REPLACE = "replace them"


@dataclass(frozen=True)
class ObjectChoice:
    """An object's name and the channel of its input that is its mask; None is alpha."""

    name: str
    channel: Optional[str] = None


@dataclass(frozen=True)
class NodeSettings:
    """A node's knobs, evaluated. ``frames`` None: the plate's own; ``view``: the stereo view that is used;
    ``homographies``: the file for the camera ``file``.
    """

    objects: Tuple[ObjectChoice, ...]
    shared_input: bool
    folder: Path
    frames: Optional[FrameRange] = None
    order: Tuple[OrderSettings, ...] = ()
    color: str = "auto"
    refine: RefineSettings = field(default_factory=RefineSettings)
    camera: str = "auto"
    homographies: str = ""
    device: str = "auto"
    precision: str = "half"
    compression: str = "zips"
    splits: bool = False
    replace: bool = False
    engine: str = ""
    view: str = "main"

    @property
    def inputs(self) -> Tuple[str, ...]:
        """Names of the mask inputs."""
        return mask_inputs(self.objects, self.shared_input)

    @property
    def inputs_folder(self) -> Path:
        """Where what Nuke renders for the engine lies, and the job."""
        return self.folder / INPUTS_FOLDER

    @property
    def job_file(self) -> Path:
        """The job as it was last run."""
        return self.inputs_folder / "job.json"


@dataclass(frozen=True)
class Clip:
    """Files for the engine: ``path`` a pattern; ``color`` as OpenColorIO names it, or auto; ``channel`` of a mask."""

    path: str
    color: str = "auto"
    channel: str = "auto"


def parse_objects(text: str, shared_input: bool) -> Tuple[ObjectChoice, ...]:
    """``car person`` or ``car=roto.car person=roto.person``, back to front; :class:`JobError` says what is wrong."""
    choices = tuple(_choice(word) for word in re.split(r"[\s,;]+", text.strip()) if word)
    if not choices:
        raise JobError("The node has no objects.", "Name them, back to front: car person.")
    folded = [choice.name.lower() for choice in choices]
    for name in folded:
        if folded.count(name) > 1:
            raise JobError(f"Two objects are called {name!r}.", "Give every object its own name.")
    for choice in choices:
        if choice.name.lower() in TAKEN_NAMES:
            raise JobError(
                f"An object of this node cannot be called {choice.name!r}.", f"Call it obj_{choice.name}, for example."
            )
        if shared_input and choice.channel is None:
            raise JobError(
                f"Object {choice.name} does not say which channel of the masks input is its own.",
                f"Write {choice.name}=roto.{choice.name}, for example, or use one input each.",
            )
    return choices


def parse_order(text: str) -> Tuple[OrderSettings, ...]:
    """``1050: person car; 1080: car person``: from those frames on, back to front."""
    entries = []
    for part in (part.strip() for part in re.split(r"[;\n]", text)):
        if part:
            match = re.match(r"(-?\d+)\s*:\s*(.+)\Z", part)
            if not match:
                raise JobError(f"The order {part!r} is not understood.", "Write it as 1050: person car.")
            entries.append(OrderSettings(tuple(re.split(r"[\s,]+", match.group(2).strip())), int(match.group(1))))
    return tuple(entries)


def parse_refine(mode: str, amount: float) -> RefineSettings:
    """The refinement of the knobs ``off``, ``minutes`` or ``steps`` and an amount."""
    if mode == "off":
        return RefineSettings()
    return RefineSettings(minutes=float(amount)) if mode == "minutes" else RefineSettings(steps=int(amount))


def mask_inputs(objects: Tuple[ObjectChoice, ...], shared: bool) -> Tuple[str, ...]:
    """Names of the mask inputs, in order."""
    return ("masks",) if shared else tuple(choice.name for choice in objects)


def make_job(
    settings: NodeSettings, plate: Clip, masks: Tuple[Clip, ...], frames: FrameRange, clean: Optional[Clip] = None
) -> Job:
    """The job, its paths relative to :attr:`NodeSettings.inputs_folder` where both may move together.

    A mask's frame is the plate's frame of the same number, as it is in Nuke.
    """
    base = settings.inputs_folder
    homographies = portable_path(settings.homographies, base) if settings.camera == "file" else None
    output = OutputSettings(
        "..",
        precision=settings.precision,
        compression=settings.compression,
        replace=settings.replace,
        splits=settings.splits,
    )
    return Job(
        plate=PlateSettings(portable_path(plate.path, base), frames, plate.color),
        masks=tuple(
            MaskSettings(choice.name, portable_path(mask.path, base), mask.channel, offset=0)
            for choice, mask in zip(settings.objects, masks)
        ),
        output=output,
        order=_whole_order(settings),
        clean_plate=None if clean is None else CleanPlateSettings(portable_path(clean.path, base), clean.color),
        camera=CameraSettings(settings.camera, homographies),
        refine=settings.refine,
        model=ModelSettings(device=settings.device),
    )


def _whole_order(settings: NodeSettings) -> Tuple[OrderSettings, ...]:
    if not settings.order:
        return ()
    return (OrderSettings(tuple(choice.name for choice in settings.objects)), *settings.order)


def _choice(word: str) -> ObjectChoice:
    name, found, channel = word.partition("=")
    check_object_name(name)
    if found and not re.match(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?\Z", channel):
        raise JobError(f"{word!r} does not name a channel.", f"Write it as {name}=roto.{name}.")
    return ObjectChoice(name, channel or None)
