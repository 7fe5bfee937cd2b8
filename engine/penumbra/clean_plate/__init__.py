"""The clean plate: what stands behind the objects, at every frame."""

from penumbra.clean_plate.build import build_clean_plate
from penumbra.clean_plate.kept import BLANK
from penumbra.clean_plate.store import CleanPlate, load_clean_plate

__all__ = ["BLANK", "CleanPlate", "build_clean_plate", "load_clean_plate"]
