"""The job: everything a user decides, frozen and validated, to and from versioned JSON.

Standard library only, in Python 3.9 syntax: the Nuke and Resolve plug-ins write jobs with this very module. Unknown
keys are refused. Relative paths resolve against the job file's folder (:meth:`Job.resolved`).
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any, Callable, Dict, Optional, Tuple, Union

from penumbra.errors import JobError, ObjectNameError
from penumbra.storage import read_text

JOB_VERSION = 1

# Names a host keeps for itself (Nuke's layers, EXR's main parts) and the folders and files of the output itself.
RESERVED_NAMES = frozenset(
    (
        *("rgba", "rgb", "alpha", "depth", "forward", "backward", "motion", "mask", "deep", "other"),
        *("disparityl", "disparityr", "rotopaint_mask"),
        *("background", "clean", "preview", "manifest", "layers"),
        *("con", "prn", "aux", "nul"),
    )
)
NAME_PATTERN = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,30}\Z")
PRECISIONS = ("half", "float")
# Lossless only: layers that a lossy one changes cannot recompose to the plate.
COMPRESSIONS = ("zips", "zip", "piz", "rle", "none")
COMBINED = ("off", "multilayer", "multipart")
# What a layer is taken further apart into: the ends of the parts' names.
SPLITS = ("object", "shadow", "light")
# More than any shot has; what a job may ask for must not take a machine down before the first frame is read.
MOST_MASKS = 1000
MOST_ORDERS = 10_000
LARGEST_SEED = 2**63 - 1
LARGEST_FRAME = 10**12
DEVICES = ("auto", "cpu", "cuda", "tensorrt", "coreml", "directml", "mps")


def check_object_name(name: str) -> str:
    """The name itself, or :class:`ObjectNameError` with a suggestion a host can take."""
    if isinstance(name, str) and NAME_PATTERN.match(name) and name.lower() not in RESERVED_NAMES:
        return name
    suggestion = re.sub(r"[^A-Za-z0-9_]+", "_", str(name)).strip("_")[:27]
    if not suggestion or not suggestion[0].isalpha() or suggestion.lower() in RESERVED_NAMES:
        suggestion = ("obj_" + suggestion).rstrip("_")
    raise ObjectNameError(
        f"Object name {name!r} cannot be used: hosts need a letter, then letters, digits or _, at most 31, and no"
        " reserved word.",
        f"Call it {suggestion!r}, for example.",
    )


@dataclass(frozen=True)
class FrameRange:
    """First and last frame number, both included."""

    first: int
    last: int

    @classmethod
    def parse(cls, text: str) -> FrameRange:
        """``"1001-1100"`` or ``"1001"``; negative numbers as ``"-5-10"``."""
        match = re.match(r"(-?[0-9]{1,12})(?:-(-?[0-9]{1,12}))?\Z", text.strip())
        if not match:
            raise JobError(f"Frame range {text!r} is not understood.", "Write it as 1001-1100.")
        first = int(match.group(1))
        last = int(match.group(2)) if match.group(2) is not None else first
        if last < first:
            raise JobError(f"Frame range {text!r} ends before it begins.", "Write the lower number first.")
        return cls(first, last)

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


@dataclass(frozen=True)
class PlateSettings:
    """Where the plate is. ``path``: a pattern (``%04d``, ``####``, ``@@@@``), a folder, one file of a sequence, or a
    movie. ``frames``: None takes all. ``color_space``: ``auto`` or a name OpenColorIO knows. ``working_space``:
    ``auto`` keeps the plate's own primaries, else the linear space layers are written in.
    """

    path: str
    frames: Optional[FrameRange] = None
    color_space: str = "auto"
    working_space: str = "auto"


@dataclass(frozen=True)
class MaskSettings:
    """One object and its roto mask. ``channel``: ``auto`` (alpha if there is one, else luminance), ``alpha``,
    ``luminance``, ``channel:NAME`` (an EXR channel such as ``channel:roto.person``), ``id:VALUE`` (pixels of that value
    of an ID image's first channel) or ``color:RRGGBB`` (pixels of that 8-bit colour). ``offset`` is added to the mask's
    own frame numbers; None finds it (the same numbers as the plate, else first on first).
    """

    name: str
    path: str
    channel: str = "auto"
    invert: bool = False
    offset: Optional[int] = None

    def __post_init__(self) -> None:
        check_object_name(self.name)
        if self.offset is not None and abs(self.offset) > LARGEST_FRAME:
            raise JobError(f"Mask {self.name}: the offset {self.offset:g} is impossible.", "Leave it out.")
        identity = r"id:-?[0-9]{1,20}(\.[0-9]{1,20})?"
        if not re.match(rf"(auto|alpha|luminance|channel:.+|{identity}|color:[0-9A-Fa-f]{{6}})\Z", self.channel):
            raise JobError(
                f"Mask {self.name}: channel {self.channel!r} is not understood.",
                "Use auto, alpha, luminance, channel:NAME, id:VALUE or color:RRGGBB.",
            )


@dataclass(frozen=True)
class OrderSettings:
    """Stacking order, back to front, from ``first`` frame on (None: from the start) until the next entry."""

    objects: Tuple[str, ...]
    first: Optional[int] = None


@dataclass(frozen=True)
class CleanPlateSettings:
    """The user's own clean plate: a sequence, a movie, or one still for all frames. ``offset``: as a mask's."""

    path: str
    color_space: str = "auto"
    offset: Optional[int] = None


@dataclass(frozen=True)
class CameraSettings:
    """``auto`` tracks, ``locked`` takes the identity, ``file`` reads homographies from ``path``."""

    mode: str = "auto"
    path: Optional[str] = None

    def __post_init__(self) -> None:
        if self.mode not in ("auto", "locked", "file") or (self.mode == "file") != (self.path is not None):
            raise JobError(f"Camera mode {self.mode!r} is not understood.", "Use auto, locked, or file with a path.")


@dataclass(frozen=True)
class RefineSettings:
    """Test-time training: neither set is off; ``steps`` is repeatable to the bit, ``minutes`` stops by the clock."""

    steps: Optional[int] = None
    minutes: Optional[float] = None

    def __post_init__(self) -> None:
        if self.steps is not None and self.minutes is not None:
            raise JobError("Refinement cannot be given both in steps and in minutes.", "Choose one.")
        if (self.steps is not None and not 1 <= self.steps < 1e9) or (
            self.minutes is not None and not 0 < self.minutes < 1e4
        ):
            raise JobError("Refinement needs a positive number of steps or minutes.", "Use off, 200 or 5min.")

    @property
    def off(self) -> bool:
        """No refinement."""
        return self.steps is None and self.minutes is None

    @classmethod
    def parse(cls, text: str) -> RefineSettings:
        """A quality by name (:data:`QUALITIES`), ``off``, ``200`` (steps) or ``5min``."""
        text = text.strip().lower()
        if text == "off":
            return cls()
        if text in QUALITIES:
            return QUALITIES[text]
        steps = re.match(r"([0-9]{1,12})\Z", text)
        minutes = re.match(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)\s*min\Z", text)
        if steps:
            return cls(steps=int(text))
        if minutes:
            return cls(minutes=float(minutes.group(1)))
        known = ", ".join(QUALITIES)
        raise JobError(f"Refinement {text!r} is not understood.", f"Use {known}, off, 200 (steps) or 5min.")

    def __str__(self) -> str:
        return "off" if self.off else f"{self.steps}" if self.steps else f"{self.minutes:g}min"


# The command's default is standard. Chosen from quality against minutes on two cores (docs/experiments.md); faster
# machines are done before, with as many steps as do good (decision 0055).
QUALITIES = {
    "preview": RefineSettings(),
    "standard": RefineSettings(minutes=3),
    "best": RefineSettings(minutes=15),
}
USUAL_QUALITY = "standard"


@dataclass(frozen=True)
class ModelSettings:
    """``weights``: ``auto`` (shipped), ``random``, or a .safetensors file. ``working_size``: (height, width) in
    multiples of 16, None chooses from the plate's aspect and the work at hand. ``seed`` fixes every random choice.
    """

    weights: str = "auto"
    working_size: Optional[Tuple[int, int]] = None
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise JobError(f"Device {self.device!r} is not known.", "Use one of: " + ", ".join(DEVICES) + ".")
        if not 0 <= self.seed <= LARGEST_SEED:
            raise JobError("The seed is negative or too large.", "Choose a number from 0 on.")
        if self.working_size is not None and any(v < 32 or v % 16 or v > 4096 for v in self.working_size):
            raise JobError(f"Working size {self.working_size} must be multiples of 16, at least 32.", "Try 128x224.")


@dataclass(frozen=True)
class OutputSettings:
    """Where and how layers are written. ``replace``: take over a folder that holds another job's result. ``clean``:
    write the clean plate itself too, with a matte of what was really seen. ``splits``: each layer also as
    ``NAME_object``, ``NAME_shadow`` and ``NAME_light``. ``combined``: all layers of a frame also in one file.
    """

    folder: str
    precision: str = "half"
    compression: str = "zips"
    previews: bool = True
    replace: bool = False
    clean: bool = False
    splits: bool = False
    combined: str = "off"

    def __post_init__(self) -> None:
        if self.combined not in COMBINED:
            raise JobError(
                f"Combined files of kind {self.combined!r} are not known.", "Use one of: " + ", ".join(COMBINED) + "."
            )
        if self.precision not in PRECISIONS:
            raise JobError(f"Precision {self.precision!r} is not known.", "Use half or float.")
        if self.compression not in COMPRESSIONS:
            raise JobError(
                f"Compression {self.compression!r} is not known.", "Use one of: " + ", ".join(COMPRESSIONS) + "."
            )


@dataclass(frozen=True)
class Job:
    """One shot to take apart. ``order`` empty: masks are given back to front."""

    plate: PlateSettings
    masks: Tuple[MaskSettings, ...]
    output: OutputSettings
    order: Tuple[OrderSettings, ...] = ()
    clean_plate: Optional[CleanPlateSettings] = None
    camera: CameraSettings = CameraSettings()
    refine: RefineSettings = RefineSettings()
    model: ModelSettings = ModelSettings()

    def __post_init__(self) -> None:
        if not self.masks:
            raise JobError("The job has no mask.", "Give one mask per object: --mask NAME=PATH.")
        if len(self.masks) > MOST_MASKS or len(self.order) > MOST_ORDERS:
            raise JobError(f"The job has {len(self.masks)} masks and {len(self.order)} orders.", "Split it up.")
        _check_texts(self, "job")
        names = [mask.name for mask in self.masks]
        folded = [name.lower() for name in names]
        for name in names:
            # Folders of two names differing only in case are one folder on Windows and macOS.
            if folded.count(name.lower()) > 1:
                raise JobError(f"Two masks are called {name!r}.", "Give every object its own name.")
        for name in names:
            taken = [f"{name}_{split}" for split in SPLITS if f"{name}_{split}".lower() in folded]
            if self.output.splits and taken:
                raise JobError(
                    f"The splits of {name!r} would overwrite the object {taken[0]!r}.", "Give that object another name."
                )
        ordered = sorted(names)
        for entry in self.order:
            if sorted(entry.objects) != ordered:
                raise JobError(
                    f"The order {list(entry.objects)} does not list every object exactly once.",
                    "List all of: " + ", ".join(names) + ".",
                )

    @property
    def names(self) -> Tuple[str, ...]:
        """Object names as the masks give them."""
        return tuple(mask.name for mask in self.masks)

    @property
    def sequences(self) -> Tuple[str, ...]:
        """Folders of the output that get one file a frame."""
        splits = tuple(f"{name}_{split}" for name in self.names for split in SPLITS if self.output.splits)
        others = (("clean",) if self.output.clean else ()) + (("layers",) if self.output.combined != "off" else ())
        return ("background", *self.names, *splits, *others)

    def order_at(self, frame: int) -> Tuple[str, ...]:
        """Object names back to front at a frame."""
        current = self.names
        for entry in sorted(self.order, key=lambda e: (e.first is not None, e.first or 0)):
            if entry.first is None or frame >= entry.first:
                current = entry.objects
        return current

    def resolved(self, base: Path) -> Job:
        """The same job with every relative path made absolute against ``base``; ``..`` is taken off by name, as
        :func:`penumbra.layer_graph.portable_path` puts it there.
        """
        return self.with_paths(lambda path: os.path.normpath(absolute_path(base, path)))

    def anywhere(self) -> Job:
        """The same job with nothing but the last part of every path: what it is, wherever its files lie."""
        return self.with_paths(lambda path: PurePath(path).name)

    def with_paths(self, at: Callable[[str], str]) -> Job:
        """The same job with every path ``p`` become ``at(p)``."""
        camera, clean, weights = self.camera, self.clean_plate, self.model.weights
        return replace(
            self,
            plate=replace(self.plate, path=at(self.plate.path)),
            masks=tuple(replace(mask, path=at(mask.path)) for mask in self.masks),
            output=replace(self.output, folder=at(self.output.folder)),
            camera=camera if camera.path is None else replace(camera, path=at(camera.path)),
            clean_plate=None if clean is None else replace(clean, path=at(clean.path)),
            model=self.model if weights in ("auto", "random") else replace(self.model, weights=at(weights)),
        )

    def to_dict(self) -> Dict[str, Any]:
        """Plain JSON values, with the version; what :func:`job_from_dict` reads."""
        return {"penumbra_job": JOB_VERSION, **_plain(self)}

    def to_json(self) -> str:
        """Indented JSON ending in a newline."""
        return json.dumps(self.to_dict(), indent=2) + "\n"


def absolute_path(base: Path, path: str) -> str:
    """``path`` against ``base``, unless it is absolute already, be it on another system."""
    return path if PureWindowsPath(path).is_absolute() else str(base / path)


def job_from_dict(data: Any) -> Job:
    """A validated job from decoded JSON; raises :class:`JobError` naming the key that is wrong."""
    if not isinstance(data, dict):
        raise JobError("The job is not a JSON object.", "Print the schema with: penumbra schema.")
    data = dict(data)
    version = data.pop("penumbra_job", None)
    if version != JOB_VERSION or isinstance(version, bool):
        raise JobError(
            f"The job's version is {version!r}; this engine reads version {JOB_VERSION}.",
            f'Set "penumbra_job": {JOB_VERSION}.',
        )
    job = _build(Job, data, "job")
    assert isinstance(job, Job)
    return job


def part_from_dict(kind: type, data: Any, where: str) -> Any:
    """One part of a job (``PlateSettings``, ``MaskSettings``, ...) from decoded JSON, as :func:`job_from_dict` does."""
    part = _build(kind, data, where)
    _check_texts(part, where)
    return part


def load_job(path: Path) -> Job:
    """Reads a job file; relative paths in it are resolved against its folder."""
    try:
        text = read_text(path)
    except (OSError, ValueError) as error:
        raise JobError(f"The job file {path} cannot be read: {error}.", "Check the path.") from error
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise JobError(f"The job file {path} is not valid JSON: {error}.", "Mend it at that place.") from error
    return job_from_dict(data).resolved(path.resolve().parent)


# The JSON shape of each settings class, key by key: the reader, the writer and the schema are all made from it.
_NUMBER: Dict[str, Any] = {"type": "number"}
_STRING: Dict[str, Any] = {"type": "string"}
_INTEGER: Dict[str, Any] = {"type": "integer"}
_BOOLEAN: Dict[str, Any] = {"type": "boolean"}


def _optional(shape: Dict[str, Any]) -> Dict[str, Any]:
    return {"anyOf": [shape, {"type": "null"}]}


_SHAPES: Dict[type, Dict[str, Any]] = {
    PlateSettings: {
        "path": _STRING,
        "frames": _optional({"type": "string", "pattern": r"^-?[0-9]{1,12}(-(-?[0-9]{1,12}))?$", "class": FrameRange}),
        "color_space": _STRING,
        "working_space": _STRING,
    },
    MaskSettings: {
        "name": {"type": "string", "pattern": r"^[A-Za-z][A-Za-z0-9_]{0,30}$"},
        "path": _STRING,
        "channel": _STRING,
        "invert": _BOOLEAN,
        "offset": _optional(_INTEGER),
    },
    OrderSettings: {"objects": {"type": "array", "items": _STRING}, "first": _optional(_INTEGER)},
    CleanPlateSettings: {"path": _STRING, "color_space": _STRING, "offset": _optional(_INTEGER)},
    CameraSettings: {"mode": {"type": "string", "enum": ["auto", "locked", "file"]}, "path": _optional(_STRING)},
    RefineSettings: {"steps": _optional(_INTEGER), "minutes": _optional(_NUMBER)},
    ModelSettings: {
        "weights": _STRING,
        "working_size": _optional({"type": "array", "items": _INTEGER, "minItems": 2, "maxItems": 2}),
        "seed": {"type": "integer", "minimum": 0, "maximum": LARGEST_SEED},
        "device": {"type": "string", "enum": list(DEVICES)},
    },
    OutputSettings: {
        "folder": _STRING,
        "precision": {"type": "string", "enum": list(PRECISIONS)},
        "compression": {"type": "string", "enum": list(COMPRESSIONS)},
        "previews": _BOOLEAN,
        "replace": _BOOLEAN,
        "clean": _BOOLEAN,
        "splits": _BOOLEAN,
        "combined": {"type": "string", "enum": list(COMBINED)},
    },
}
_SHAPES[Job] = {
    "plate": {"class": PlateSettings},
    "masks": {"type": "array", "minItems": 1, "maxItems": MOST_MASKS, "items": {"class": MaskSettings}},
    "output": {"class": OutputSettings},
    "order": {"type": "array", "maxItems": MOST_ORDERS, "items": {"class": OrderSettings}},
    "clean_plate": _optional({"class": CleanPlateSettings}),
    "camera": {"class": CameraSettings},
    "refine": {"class": RefineSettings},
    "model": {"class": ModelSettings},
}
_REQUIRED: Dict[type, Tuple[str, ...]] = {
    PlateSettings: ("path",),
    MaskSettings: ("name", "path"),
    OrderSettings: ("objects",),
    CleanPlateSettings: ("path",),
    OutputSettings: ("folder",),
    Job: ("plate", "masks", "output"),
}


def json_schema() -> Dict[str, Any]:
    """The job file's JSON Schema (draft 2020-12)."""
    body = _class_schema(Job)
    body["properties"] = {"penumbra_job": {"const": JOB_VERSION}, **body["properties"]}
    body["required"] = ["penumbra_job", *body["required"]]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Penumbra job", **body}


def _class_schema(cls: type) -> Dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(_REQUIRED.get(cls, ())),
        "properties": {key: _public(shape) for key, shape in _SHAPES[cls].items()},
    }


def _public(shape: Dict[str, Any]) -> Dict[str, Any]:
    if shape.get("class") in _SHAPES:
        return _class_schema(shape["class"])
    public = {key: value for key, value in shape.items() if key != "class"}
    if "items" in public:
        public["items"] = _public(public["items"])
    if "anyOf" in public:
        public["anyOf"] = [_public(option) for option in public["anyOf"]]
    return public


_JSON_TYPES: Dict[str, Union[type, Tuple[type, ...]]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "null": type(None),
}


def _build(cls: type, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise JobError(f"{where} must be a JSON object.", "Print the schema with: penumbra schema.")
    unknown = sorted(set(data) - set(_SHAPES[cls]))
    if unknown:
        raise JobError(f"{where} has an unknown key {unknown[0]!r}.", "Known: " + ", ".join(_SHAPES[cls]) + ".")
    for key in _REQUIRED.get(cls, ()):
        if key not in data:
            raise JobError(f"{where} lacks {key!r}.", "Print the schema with: penumbra schema.")
    return cls(**{key: _value(_SHAPES[cls][key], value, f"{where}.{key}") for key, value in data.items()})


def _value(shape: Dict[str, Any], value: Any, where: str) -> Any:
    if "anyOf" in shape:
        return None if value is None else _value(shape["anyOf"][0], value, where)
    if shape.get("class") in _SHAPES:
        return _build(shape["class"], value, where)
    expected = shape["type"]
    # bool is an int in Python and JSON's NaN is a float: neither is a number here.
    wrong = isinstance(value, bool) != (expected == "boolean") or not isinstance(value, _JSON_TYPES[expected])
    if wrong or (expected == "number" and value != value):
        raise JobError(f"{where} must be of type {expected}.", "Print the schema with: penumbra schema.")
    if "enum" in shape and value not in shape["enum"]:
        raise JobError(f"{where} is {value!r}.", "Use one of: " + ", ".join(shape["enum"]) + ".")
    if expected == "array":
        if not shape.get("minItems", 0) <= len(value) <= shape.get("maxItems", 100_000):
            raise JobError(f"{where} has {len(value)} entries.", "Print the schema with: penumbra schema.")
        return tuple(_value(shape["items"], item, f"{where}[{i}]") for i, item in enumerate(value))
    if shape.get("class") is FrameRange:
        return FrameRange.parse(value)
    return value


def _check_texts(value: Any, where: str) -> None:
    """Files named by a text, and files a text is written to, need it free of NUL and in characters of Unicode."""
    if isinstance(value, str):
        if "\0" in value:
            raise JobError(f"{where} holds a NUL character.", "Remove it.")
        if value != value.encode("utf-8", "replace").decode("utf-8"):
            raise JobError(f"{where} is not in Unicode: {value!r}.", "Rename the file or folder it names.")
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            _check_texts(item, f"{where}[{index}]")
    elif is_dataclass(value):
        for f in fields(value):
            _check_texts(getattr(value, f.name), f"{where}.{f.name}")


def _plain(value: Any) -> Any:
    if isinstance(value, FrameRange):
        return str(value)
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value
