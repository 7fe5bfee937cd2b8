"""The PyTorch network, its losses and its weight files."""

from penumbra.network.losses import (
    LAMBDA_REGULARISE,
    LossTerms,
    composite,
    layer_losses,
    mask_weight_schedule,
    reconstruction_weight,
    total_loss,
)
from penumbra.network.model import LayerNetwork, NetworkSize, seeded_network
from penumbra.network.weights import load_weights, save_weights

__all__ = [
    "LAMBDA_REGULARISE",
    "LayerNetwork",
    "LossTerms",
    "NetworkSize",
    "composite",
    "layer_losses",
    "load_weights",
    "mask_weight_schedule",
    "reconstruction_weight",
    "save_weights",
    "seeded_network",
    "total_loss",
]
