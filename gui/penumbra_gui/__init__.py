"""The desktop panel: a thin front of the engine, which runs as a subprocess.

models (no Qt) < views (signals only) < controllers < app.
"""
