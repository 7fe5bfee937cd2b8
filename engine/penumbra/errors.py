"""Every failure a user can act on: a stable code, one sentence, the fix, and the exit code of the command line.

Standard library only, in Python 3.9 syntax: the host plug-ins import this module inside the host's own Python.

Exit codes: 0 done, 1 a fault of ours, 2 the job or an option, 3 the footage, 4 the output folder, 5 weights or device,
6 out of memory, 7 the written files do not recompose, 130 stopped on request.
"""

from __future__ import annotations

import errno

LONGEST_SENTENCE = 1000  # characters


class PenumbraError(Exception):
    """Base of everything raised on purpose.

    ``sentence`` names the file, frame or option; ``fix`` says what to do about it (may be empty). Both can be printed
    anywhere and have bounded length, whatever names or values they quote.
    """

    code = "fault"
    exit_code = 1

    def __init__(self, sentence: str, fix: str = "") -> None:
        self.sentence = _tellable(sentence)
        self.fix = _tellable(fix)
        super().__init__(self.sentence)

    def __str__(self) -> str:
        return f"{self.sentence} {self.fix}".strip()


def _tellable(text: str) -> str:
    """Without the middle where it is too long; halves of characters, as in file names of other encodings, spelled."""
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    if len(text) <= LONGEST_SENTENCE:
        return text
    return f"{text[: LONGEST_SENTENCE * 2 // 3]} ... {text[-LONGEST_SENTENCE // 4 :]}"


class JobError(PenumbraError):
    """The job file or a command line option cannot be used as given."""

    code = "job"
    exit_code = 2


class ObjectNameError(JobError):
    """An object name a host cannot take."""

    code = "object_name"


class ColorSpaceError(JobError):
    """A colour space or OCIO configuration that cannot be resolved."""

    code = "color_space"


class FootageError(PenumbraError):
    """Footage that cannot be used: the base of the read stage's errors."""

    code = "footage"
    exit_code = 3


class FootageNotFoundError(FootageError):
    """No file matches the path or pattern."""

    code = "footage_not_found"


class MissingFramesError(FootageError):
    """A sequence with holes inside the frame range asked for."""

    code = "missing_frames"


class UnreadableError(FootageError):
    """A file that exists but cannot be decoded: corrupt, truncated, or not an image."""

    code = "unreadable"


class SizeMismatchError(FootageError):
    """Footage whose size does not fit the plate's."""

    code = "size_mismatch"


class EmptyMaskError(FootageError):
    """A mask without coverage on any frame."""

    code = "empty_mask"


class TooShortError(FootageError):
    """A clip of fewer frames than the method needs."""

    code = "too_short"


class CameraError(FootageError):
    """Camera data that cannot be read or does not fit the clip."""

    code = "camera"


class OutputError(PenumbraError):
    """The output folder cannot be used or written."""

    code = "output"
    exit_code = 4


class OutputOfAnotherJobError(OutputError):
    """The output folder holds the result of a different job."""

    code = "output_of_another_job"


class StageOrderError(OutputError):
    """A task of a farm job whose forerunners have not finished."""

    code = "stage_order"


class OutputInUseError(OutputError):
    """Another run works in the output folder."""

    code = "output_in_use"


class WeightsError(PenumbraError):
    """Weights that cannot be read, do not fit, or are refused for safety."""

    code = "weights"
    exit_code = 5


class DeviceError(PenumbraError):
    """The device asked for cannot be used here."""

    code = "device"
    exit_code = 5


class TorchMissingError(PenumbraError):
    """PyTorch is needed, and not installed."""

    code = "torch_missing"
    exit_code = 5

    def __init__(self) -> None:
        super().__init__(
            "PyTorch is not installed here, which refinement, other weights than the shipped ones and training need.",
            "Install it with pip install 'penumbra-layers[refine]', or use --refine off.",
        )


class OutOfMemoryError(PenumbraError):
    """Not enough memory even for the smallest unit of work."""

    code = "out_of_memory"
    exit_code = 6


def ran_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out, in whatever words: OpenCV and torch raise errors of their own, and threads need some."""
    text = str(error).lower()
    told = isinstance(error, RuntimeError) or type(error).__module__ == "cv2"
    words = ("insufficient memory", "allocate memory", "out of memory", "start new thread", "bad_alloc")
    return (
        isinstance(error, MemoryError)
        or (told and any(word in text for word in words))
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    )


class PanelUnavailableError(PenumbraError):
    """The desktop panel's libraries are not installed."""

    code = "panel_unavailable"
    exit_code = 5


class RecompositionError(PenumbraError):
    """Written layers that do not recompose to the plate within the bound."""

    code = "recomposition"
    exit_code = 7


class Stopped(PenumbraError):
    """The user asked to stop. Finished frames stay; the job resumes."""

    code = "stopped"
    exit_code = 130
