"""The network as three ONNX graphs without weights: templates that an export fills in.

PyTorch's exporter takes half a minute, a refinement exports after every shot, and the graphs depend on nothing but the
network's code: so they are exported once, with the weights as inputs, and kept beside this module. After a change to
the network run ``python -m penumbra.training.graphs``; the parity tests tell when that was forgotten.
"""

from penumbra.training.graphs.templates import load_template, write_templates

__all__ = ["load_template", "write_templates"]
