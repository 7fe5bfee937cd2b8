"""What a model promises: sizes, channels and ranges, read from the weights or the .onnx, never repeated in code."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields

from penumbra.errors import WeightsError

CONTRACT_VERSION = 1
CONTRACT_KEY = "penumbra.contract"  # of the metadata entry that holds it, in .safetensors and .onnx files
FINGERPRINT_KEY = "penumbra.fingerprint"  # the same in the graphs that belong together
LONGEST_SIDE = 16384  # of a working size
GRAPH_NAMES = ("frame_encoder", "mask_encoder", "layer_decoder")


@dataclass(frozen=True)
class ModelContract:
    """The facts a caller of the network must know.

    ``window``: T, the number of frames seen at once. ``stride``: temporal stride between them, in frames.
    ``height``, ``width``: the working size trained at; any multiple of ``multiple`` is accepted. Inputs and outputs are
    RGB(A) in [-1, 1], display-encoded; masks +1 inside, -1 outside; hidden frames are all -1; colour is straight.
    """

    window: int = 5
    stride: int = 3
    height: int = 128
    width: int = 128
    multiple: int = 16
    version: int = CONTRACT_VERSION

    def to_json(self) -> str:
        """One line of JSON, stored as the metadata entry ``penumbra.contract``."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelContract:
        """Raises :class:`WeightsError` when the text is no contract of a version we know."""
        try:
            contract = cls(**json.loads(text))
        except (ValueError, TypeError, RecursionError) as error:
            raise WeightsError("The weights carry no contract this version understands.") from error
        if not all(type(getattr(contract, part.name)) is int for part in fields(cls)):
            raise WeightsError("The weights carry a contract of which not every part is a whole number.")
        if contract.version != CONTRACT_VERSION:
            raise WeightsError(
                f"The weights speak contract version {contract.version}; this engine speaks {CONTRACT_VERSION}.",
                "Use weights made for this version of Penumbra.",
            )
        sides = (contract.height, contract.width)
        if not all(contract.multiple <= side <= LONGEST_SIDE for side in sides) or not 1 <= contract.multiple <= 4096:
            raise WeightsError(f"The weights claim to be trained at {sides[0]}x{sides[1]}, which is impossible.")
        return contract
