"""Penumbra: one RGBA layer per object, with its shadows and reflections in the layer, plus a clean plate."""

__version__ = "0.1.0"
