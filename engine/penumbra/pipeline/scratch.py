"""What the stages leave in the work folder, and what of it need not stay."""

from __future__ import annotations

from penumbra.contract import GRAPH_NAMES
from penumbra.journal import FRAMES_APART, Journal

CHECKPOINT = "refine.pt"
PICTURES = "pictures"
# What each fact of the journal speaks of, in the work folder.
MADE = {
    "read": ("frames.npy", "masks.npy", "luma.npy", "occupied.npy"),
    "clean_plate": ("clean_plate/clean_plate.json",),
    "prepared": ("encoded.npy", "background.npy", "valid.npy", "believed.npy"),
    "weights": tuple(f"graphs/{name}.onnx" for name in GRAPH_NAMES),
    "low": ("low.npy",),
}
# What the work folder need not keep once all layers are written.
SCRATCH_FACTS = ("read", "clean_plate", "prepared", "low")
SCRATCH = (
    *(name for fact in SCRATCH_FACTS for name in MADE[fact] if "/" not in name),
    *("clean_plate", CHECKPOINT, FRAMES_APART, PICTURES),
)


def tidy(journal: Journal) -> None:
    """Removes what only the work needed; facts first, lest a killed run leaves facts about nothing.

    Were a layer to be lost later, a resumed run makes these again.
    """
    journal.drop(*SCRATCH_FACTS)
    journal.discard(SCRATCH)
