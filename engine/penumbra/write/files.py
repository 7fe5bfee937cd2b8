"""The output folder: where files stand in it, and what goes wrong while writing there, as sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from penumbra.errors import OutputError
from penumbra.storage import TEMPORARY_PREFIX, atomic_path

WRITE_FIX = "Check that the disk is not full and that the folder can be written, then run again with --resume."


def frame_path(folder: Path, name: str, number: int, padding: int) -> Path:
    """The EXR of a layer, or of ``background``, at a frame: ``folder/name/name.1001.exr``.

    Numbers are written as C's ``%0Nd``, which hosts use too: frame -5 at padding 4 is ``-005``.
    """
    return folder / name / f"{name}.{number:0{padding}d}.exr"


def prepare_output(folder: Path) -> None:
    """Makes the output folder, with its parents, and sees that files can be made in it.

    Raises :class:`OutputError` when it is a file, cannot be made, or cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"The output {folder} is a file, not a folder.", "Name a folder with --output.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder, prefix=TEMPORARY_PREFIX) as probe:
            probe.write(b"writable")
    except OSError as error:
        raise OutputError(
            f"The output folder {folder} cannot be written: {_reason(error)}.",
            "Choose another folder with --output, or change its permissions.",
        ) from error


def refuse_links(folder: Path, names: Iterable[str]) -> None:
    """Raises :class:`OutputError` where something in the output folder leads out of it.

    ``names``: what a run writes into. What lies in a folder among them counts too, for some of it is opened again.
    """
    for name in names:
        within = sorted((folder / name).rglob("*")) if (folder / name).is_dir() else []
        for path in (folder / name, *within):
            if path.is_symlink():
                raise OutputError(f"{path} is a symbolic link.", "Remove it, or choose another output folder.")


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary path to write; it becomes ``path`` when the block ends well and vanishes otherwise.

    Makes the folder of ``path``. Any OSError in the block, PyAV's included, becomes an :class:`OutputError` naming
    ``path``.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            yield temporary
    except OSError as error:
        raise OutputError(f"The file {path} could not be written: {_reason(error)}.", WRITE_FIX) from error


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
