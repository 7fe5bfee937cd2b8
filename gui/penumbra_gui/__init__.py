"""The desktop panel: a thin front of the engine, started as a subprocess (not built yet)."""
