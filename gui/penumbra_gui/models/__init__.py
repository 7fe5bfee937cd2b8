"""What the panel knows and does, without Qt: jobs, pictures, the timeline, the engine's processes."""
