"""The Resolve and Fusion scripts: a thin front of the engine, started as a subprocess (not built yet)."""
