"""Damages real footage and has it read, thousands of times if asked to.

python -m fuzz.files COUNT [FIRST_SEED]        (with ``tests`` on the path) prints what was not in order
"""

from __future__ import annotations

import collections
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fuzz.footage import write_images, write_movies
from fuzz.mutations import damaged

TESTS = Path(__file__).parents[1]
# A child begins with what the libraries need, about 200 MiB; the rest is what a small file may make of itself.
MOST_MIB = 1024
_BATCH = 100


def outcomes(folder: Path, count: int, first_seed: int = 0) -> Iterator[dict[str, Any]]:
    """What came of ``count`` damaged files, variant after variant; what is not in order is kept in ``folder``."""
    (folder / "whole").mkdir(parents=True, exist_ok=True)
    whole = write_images(folder / "whole") + write_movies(folder / "whole")
    alike = {suffix: [p.read_bytes() for p in whole if p.suffix == suffix] for suffix in {p.suffix for p in whole}}
    for start in range(first_seed, first_seed + count, _BATCH):
        paths = []
        for seed in range(start, min(start + _BATCH, first_seed + count)):
            origin = whole[seed % len(whole)]
            # A folder each: a neighbour would make a sequence of it.
            path = folder / "damaged" / str(seed) / origin.name
            path.parent.mkdir(parents=True)
            path.write_bytes(damaged(origin.read_bytes(), seed, alike[origin.suffix]))
            paths.append(path)
        for outcome in judged(paths):
            yield outcome
            if in_order(outcome):
                shutil.rmtree(Path(str(outcome["file"])).parent)


def judged(paths: list[Path]) -> list[dict[str, Any]]:
    """The outcomes of reading files, from a process that reads each in a child of its own."""
    answer = subprocess.run(
        [sys.executable, "-m", "fuzz.reading"],
        input="\n".join(map(str, paths)),
        env={**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in answer.stdout.splitlines()]


def in_order(outcome: dict[str, Any]) -> bool:
    """Read, or refused with a sentence, in bounded memory."""
    return outcome["kind"] in ("read", "refused") and int(outcome["mib"]) <= MOST_MIB


def main() -> None:
    """Runs a campaign and prints its outcomes by kind."""
    folder = Path(tempfile.mkdtemp(prefix="penumbra-fuzz-"))
    kinds: collections.Counter[tuple[str, str]] = collections.Counter()
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    for outcome in outcomes(folder, int(sys.argv[1]), first):
        kinds[Path(outcome["file"]).suffix, outcome["kind"]] += 1
        if not in_order(outcome):
            print(json.dumps(outcome), flush=True)  # noqa: T201 # what it is for
    print({" ".join(key): number for key, number in sorted(kinds.items())})  # noqa: T201


if __name__ == "__main__":
    main()
