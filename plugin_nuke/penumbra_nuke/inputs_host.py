"""Plate and masks as files: those of a bare Read as they are, everything else rendered. Main thread only."""

from __future__ import annotations

import re
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, List, NamedTuple, Optional, Tuple

import nuke

from penumbra.errors import FootageError, JobError, Stopped
from penumbra.job import FrameRange
from penumbra_nuke.reads import (
    ReadFacts,
    ScriptColor,
    in_one_space,
    in_working_space,
    is_absolute,
    is_numbered,
    mask_clip,
    plate_clip,
    space_name,
)
from penumbra_nuke.script_host import evaluated, full_resolution, input_of, value_of
from penumbra_nuke.settings import CLEAN_INPUT, Clip, NodeSettings

DATATYPES = {"half": "16 bit half", "float": "32 bit float"}
PLATE = "plate"


class Gathered(NamedTuple):
    """What the engine is given: ``masks`` one per object; ``clean`` the artist's own clean plate."""

    plate: Clip
    masks: Tuple[Clip, ...]
    frames: FrameRange
    clean: Optional[Clip]


def gather(node: nuke.Group, settings: NodeSettings) -> Gathered:
    """The inputs as files, rendered where they must be.

    Raises :class:`JobError` for what is not plugged in, :class:`FootageError` where rendering fails, and
    :class:`Stopped` where the artist cancelled it; files half rendered are removed then.
    """
    # Also while asking for file names: a Read under proxy names its proxy.
    with full_resolution():
        return _gather(node, settings)


def _gather(node: nuke.Group, settings: NodeSettings) -> Gathered:
    source = _plugged_in(node, 0, "the plate")
    sources = [_plugged_in(node, index + 1, f"the mask {name}") for index, name in enumerate(settings.inputs)]
    clean_source = input_of(node, len(sources) + 1)
    frames = settings.frames or FrameRange(source.firstFrame(), source.lastFrame())
    color = _script_color()
    plate = plate_clip(_facts(source, frames), color) if source.Class() == "Read" else None
    clean = None
    with _dump(node, settings, frames) as render:
        if plate is None:
            named = space_name(color) if settings.color == "auto" else settings.color
            plate = Clip(render.clip(PLATE, PLATE, "rgb"), color=named)
        elif settings.color != "auto":
            plate = Clip(plate.path, color=settings.color)
        else:
            plate = in_working_space(plate, space_name(color))
        masks = tuple(_mask(settings, index, sources, render, frames) for index in range(len(settings.objects)))
        if clean_source is not None:
            plate, clean = in_one_space(plate, _clean(clean_source, color, render, frames), space_name(color))
    return Gathered(plate, masks, frames, clean)


class _Dump:
    """One Write inside the node, used for every input in turn: Python may touch ten nodes in some editions."""

    def __init__(self, node: nuke.Group, settings: NodeSettings, frames: FrameRange) -> None:
        self._node, self._settings, self._frames = node, settings, frames
        self._write: Optional[nuke.Node] = None
        self._pick: Optional[nuke.Node] = None

    def clip(self, name: str, source: str, channels: str, channel: Optional[str] = None) -> str:
        """Renders an input of the node; the pattern of the files. ``channel`` becomes the alpha first."""
        folder = self._settings.inputs_folder / name
        _clear(folder, name)
        inside = nuke.toNode(f"{self._node.fullName()}.{source}")
        assert inside is not None
        pattern = f"{folder.as_posix()}/{name}.%04d.exr"
        write = self._prepared(pattern, channels, self._picked(inside, channel))
        try:
            nuke.execute(write, self._frames.first, self._frames.last, 1, [self._settings.view])
        except (RuntimeError, nuke.CancelledError) as error:
            _clear(folder, name)
            raise _failure(error, name) from error
        return pattern

    def close(self) -> None:
        """Removes the Write."""
        for made in (self._write, self._pick):
            if made is not None:
                nuke.delete(made)

    def _prepared(self, pattern: str, channels: str, source: nuke.Node) -> nuke.Node:
        if self._write is None:
            with self._node:
                self._write = nuke.nodes.Write(file_type="exr", inputs=[source])
        write = self._write
        write.setInput(0, source)
        file = write["file"]
        assert isinstance(file, nuke.File_Knob)
        file.fromUserText(pattern)
        precision = DATATYPES[self._settings.precision]
        # raw: pixels stay in the script's working space. Compression is lossless.
        for knob, value in (("channels", channels), ("datatype", precision), ("compression", "Zip (1 scanline)")):
            write[knob].setValue(value)
        for knob in ("raw", "create_directories"):
            write[knob].setValue(True)
        return write

    def _picked(self, source: nuke.Node, channel: Optional[str]) -> nuke.Node:
        if channel is None:
            return source
        if self._pick is None:
            with self._node:
                self._pick = nuke.nodes.Expression(inputs=[source])
        pick = self._pick
        pick.setInput(0, source)
        pick["channel3"].setValue("alpha")
        pick["expr3"].setValue(channel)
        return pick


@contextmanager
def _dump(node: nuke.Group, settings: NodeSettings, frames: FrameRange) -> Iterator[_Dump]:
    # What is made and removed again is nothing to undo.
    nuke.Undo.disable()
    dump = _Dump(node, settings, frames)
    try:
        yield dump
    finally:
        dump.close()
        nuke.Undo.enable()


def _clean(source: nuke.Node, color: ScriptColor, render: _Dump, frames: FrameRange) -> Clip:
    found = plate_clip(_facts(source, frames), color, still=True) if source.Class() == "Read" else None
    return found or Clip(render.clip(CLEAN_INPUT, CLEAN_INPUT, "rgb"))


def _mask(settings: NodeSettings, index: int, sources: List[nuke.Node], render: _Dump, frames: FrameRange) -> Clip:
    choice = settings.objects[index]
    number = 0 if settings.shared_input else index
    read = sources[number].Class() == "Read"
    found = mask_clip(_facts(sources[number], frames), choice.channel) if read else None
    if found is not None:
        return found
    channels, meaning = ("alpha", "alpha") if choice.channel else _matte_of(sources[number])
    path = render.clip(f"mask-{choice.name}", settings.inputs[number], channels, choice.channel)
    return Clip(path, channel=meaning)


def _matte_of(source: nuke.Node) -> Tuple[str, str]:
    """What to render of a mask, and which of it is the matte: as with files, luminance where alpha says nothing."""
    there = source.channels()
    if "rgba.alpha" not in there:
        return "rgb", "auto"
    return ("rgba", "auto") if "rgba.red" in there else ("alpha", "alpha")


def _plugged_in(node: nuke.Group, index: int, what: str) -> nuke.Node:
    source = input_of(node, index)
    if source is None:
        raise JobError(f"{node.name()}: {what} is not plugged in.", f"Connect it to input {index}.")
    return source


def _facts(read: nuke.Node, frames: FrameRange) -> ReadFacts:
    # An offset of nothing is how Nuke leaves the knob after it was tried.
    frame = str(value_of(read, "frame") or "")
    still = frame == "" or (frame == "0" and value_of(read, "frame_mode") == "offset")
    file = _file_of(read)
    # Before its first frame and after its last a Read shows others, which the engine would not guess.
    short = is_numbered(file) and not read.firstFrame() <= frames.first <= frames.last <= read.lastFrame()
    return ReadFacts(
        file=file,
        color_space=str(value_of(read, "colorspace") or ""),
        raw=bool(value_of(read, "raw")),
        premultiplied=bool(value_of(read, "premultiplied")),
        disabled=bool(value_of(read, "disable")),
        shifted=not still or short,
        stereo=len(nuke.views()) > 1,
    )


def _file_of(read: nuke.Node) -> str:
    """A Read's file as Nuke finds it: a relative name counts from the project's folder."""
    file = str(nuke.filename(read) or "").replace("\\", "/")
    folder = "" if is_absolute(file) else evaluated(nuke.root(), "project_directory").rstrip("/")
    return f"{folder}/{file}" if folder else file


def _script_color() -> ScriptColor:
    root = nuke.root()
    return ScriptColor(
        management=str(value_of(root, "colorManagement") or "Nuke"),
        configuration=str(value_of(root, "OCIO_config") or ""),
        working_space=str(value_of(root, "workingSpaceLUT") or "linear"),
    )


def _failure(error: Exception, name: str) -> Exception:
    if isinstance(error, nuke.CancelledError) or str(error).strip().lower().startswith("cancel"):
        return Stopped(f"Rendering {name} was cancelled.", "Press Decompose to start again.")
    return FootageError(f"Nuke could not render {name}: {error}.", "Mend what is plugged in there.")


def _clear(folder: Path, name: str) -> None:
    """Removes the frames of an earlier render, and nothing else."""
    if folder.is_dir():
        own: List[Path] = [
            path for path in folder.iterdir() if re.match(re.escape(name) + r"\.-?\d+\.exr\Z", path.name)
        ]
        for path in own:
            path.unlink()
