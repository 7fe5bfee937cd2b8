"""``python -m penumbra.training.pretrain RUN [--settings FILE] [--steps N] [--minutes M] [--threads N]``."""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path

import torch

from penumbra.training.pretrain import PretrainSettings, pretrain, read_settings


def main() -> None:
    """Starts or resumes a run without the command line's libraries."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--settings", type=Path)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if options.threads:
        torch.set_num_threads(options.threads)
    given = options.settings or options.run / "settings.json"
    settings = read_settings(given) if given.exists() else PretrainSettings()
    changes = {"steps": options.steps, "minutes": options.minutes}
    pretrain(options.run, replace(settings, **{key: value for key, value in changes.items() if value}))


if __name__ == "__main__":
    main()
