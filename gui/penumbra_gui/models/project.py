"""What the artist has chosen so far: a job in the making."""

from __future__ import annotations

import colorsys
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from penumbra.errors import JobError, ObjectNameError, OutputError
from penumbra.job import (
    CameraSettings,
    CleanPlateSettings,
    Job,
    MaskSettings,
    ModelSettings,
    OrderSettings,
    OutputSettings,
    PlateSettings,
    RefineSettings,
    check_object_name,
)

# An artist who has asked for nothing gets layers worth looking at, and can stop earlier.
USUAL_REFINEMENT = RefineSettings(minutes=5)
_CAMERA = CameraSettings()
_MODEL = ModelSettings()


@dataclass(frozen=True)
class Project:
    """A job whose parts may still be missing. ``masks`` are back to front unless ``order`` says otherwise.

    ``folder`` is the output folder, empty while none is chosen.
    """

    plate: PlateSettings | None = None
    masks: tuple[MaskSettings, ...] = ()
    folder: str = ""
    order: tuple[OrderSettings, ...] = ()
    clean_plate: CleanPlateSettings | None = None
    camera: CameraSettings = _CAMERA
    refine: RefineSettings = USUAL_REFINEMENT
    model: ModelSettings = _MODEL
    precision: str = "half"
    compression: str = "zips"
    previews: bool = True
    splits: bool = False
    clean: bool = False
    combined: str = "off"

    @classmethod
    def of_job(cls, job: Job) -> Project:
        """The project that :meth:`job` makes ``job`` of."""
        output = job.output
        return cls(
            job.plate, job.masks, output.folder, job.order, job.clean_plate, job.camera, job.refine, job.model,
            output.precision, output.compression, output.previews, output.splits, output.clean, output.combined,
        )  # fmt: skip

    @property
    def names(self) -> tuple[str, ...]:
        """Object names as the masks give them."""
        return tuple(mask.name for mask in self.masks)

    def job(self, replace_output: bool = False) -> Job:
        """The job; raises :class:`JobError` in the command line's words while a part is missing."""
        if self.plate is None:
            raise JobError("There is no plate.", "Drop a clip on the window, or use File > Open clip.")
        if not self.masks:
            raise JobError("The job has no mask.", "Add one mask per object.")
        if not self.folder:
            raise JobError("There is no output folder.", "Choose one under Output.")
        output = OutputSettings(
            self.folder, self.precision, self.compression, self.previews, replace_output, self.clean, self.splits,
            self.combined,
        )  # fmt: skip
        return Job(self.plate, self.masks, output, self.order, self.clean_plate, self.camera, self.refine, self.model)

    def with_mask(self, path: str) -> Project:
        """One more mask, in front, named after its file."""
        return replace(self, masks=(*self.masks, MaskSettings(name_of(path, self.names), path)), order=())

    def without_mask(self, index: int) -> Project:
        """All masks but one."""
        return replace(self, masks=self.masks[:index] + self.masks[index + 1 :], order=())

    def with_changed_mask(self, index: int, **changes: object) -> Project:
        """One mask changed; raises :class:`JobError` for a name that cannot be or is taken, or an unknown channel."""
        mask = replace(self.masks[index], **changes)  # type: ignore[arg-type] # checked by MaskSettings itself
        others = [name.lower() for place, name in enumerate(self.names) if place != index]
        if mask.name.lower() in others:
            raise JobError(f"Two masks are called {mask.name!r}.", "Give every object its own name.")
        before = self.masks[index].name
        order = tuple(
            replace(entry, objects=tuple(mask.name if name == before else name for name in entry.objects))
            for entry in self.order
        )
        return replace(self, masks=(*self.masks[:index], mask, *self.masks[index + 1 :]), order=order)

    def with_split_mask(self, index: int, channels: Iterable[str]) -> Project:
        """One mask for each of ``channels``, such as the values of an ID image, in place of one; the first stays
        hindmost.
        """
        mask, taken = self.masks[index], [name for place, name in enumerate(self.names) if place != index]
        parts: list[MaskSettings] = []
        for channel in channels:
            stem = re.sub(r"[^A-Za-z0-9_]+", "_", f"{mask.name}_{channel.partition(':')[2]}")
            name = _free_name(stem, [*taken, *(part.name for part in parts)])
            parts.append(replace(mask, name=name, channel=channel))
        return replace(self, masks=(*self.masks[:index], *parts, *self.masks[index + 1 :]), order=())

    def with_order(self, names: Iterable[str]) -> Project:
        """The masks in this order, back to front, on every frame."""
        by_name = {mask.name: mask for mask in self.masks}
        return replace(self, masks=tuple(by_name[name] for name in names), order=())

    def order_at(self, frame: int) -> tuple[str, ...]:
        """Object names back to front at a frame."""
        if self.plate is None or not self.masks:
            return ()
        return Job(self.plate, self.masks, OutputSettings("."), self.order).order_at(frame)


def name_of(path: str, taken: Iterable[str]) -> str:
    """An object name for a mask file: its own without frame number and version, made fit for hosts and not taken."""
    where = Path(path)
    stem = re.sub(r"%0?\d*d|#+|@+|\[.*?\]|(?<![A-Za-z])v\d+", "", where.stem)
    stem = re.sub(r"[._-]?\d+$", "", stem).strip("._- ") or where.parent.name
    return _free_name(re.sub(r"[^A-Za-z0-9_]+", "_", stem).strip("_")[:27] or "object", taken)


def _free_name(stem: str, taken: Iterable[str]) -> str:
    try:
        check_object_name(stem)
    except ObjectNameError:
        stem = f"obj_{stem}"[:27].rstrip("_")
    known = {name.lower() for name in taken}
    numbered = [stem, *(f"{stem}_{count}" for count in range(2, 1000))]
    return next(name for name in numbered if name.lower() not in known)


def object_color(index: int) -> tuple[int, int, int]:
    """Red, green and blue in [0, 255] of the object of a place: the colours a manifest gives too."""
    red, green, blue = colorsys.hls_to_rgb((0.02 + index * 0.381966) % 1, 0.58, 0.65)
    return round(red * 255), round(green * 255), round(blue * 255)


def usual_folder(plate_path: str) -> str:
    """Where layers go unless the artist says otherwise: ``layers`` beside the plate."""
    where = Path(plate_path)
    return str((where if where.is_dir() else where.parent) / "layers")


def whole_folder(folder: str, plate_path: str) -> str:
    """A folder as it was typed, whole: a relative one lies beside the plate, wherever the engine is started.

    Raises :class:`OutputError` for the home of a user there is not.
    """
    if not folder:
        return ""
    try:
        typed = Path(folder).expanduser()
    except RuntimeError as error:
        raise OutputError(f"There is no home folder for {Path(folder).parts[0]}.", "Write the path out.") from error
    near = Path(usual_folder(plate_path)).parent if plate_path else Path()
    return os.path.normpath((near / typed).absolute())


def next_folder(folder: str) -> str:
    """The next version of an output folder that does not exist yet: ``layers``, ``layers_v002``, ``layers_v003``."""
    match = re.search(r"_v(\d{3})$", folder)
    base, number = (folder[: match.start()], int(match.group(1))) if match else (folder, 1)
    candidates = (f"{base}_v{count:03d}" for count in range(number + 1, 1000))
    return next(path for path in candidates if not Path(path).exists())
