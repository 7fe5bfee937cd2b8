"""Read: file patterns and movies to plate frames, masks and clean plates, scene-linear float32, one frame at a time.

Nothing here holds a clip in memory. OpenImageIO reads stills, PyAV movies, OpenColorIO named colour spaces.
"""

from penumbra.read.clean_plates import CleanPlateReader, open_clean_plate
from penumbra.read.encodings import check_color_space, describe_color_configuration
from penumbra.read.inspection import inspect_footage
from penumbra.read.masks import MaskReader, open_mask
from penumbra.read.plates import PlateReader, open_plate
from penumbra.read.sequences import compact_ranges, files_of_clip, sequence_pattern

__all__ = [
    "CleanPlateReader",
    "MaskReader",
    "PlateReader",
    "check_color_space",
    "compact_ranges",
    "describe_color_configuration",
    "files_of_clip",
    "inspect_footage",
    "open_clean_plate",
    "open_mask",
    "open_plate",
    "sequence_pattern",
]
