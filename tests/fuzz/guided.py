"""Coverage-guided fuzzing of one target by atheris (libFuzzer).

    python -m fuzz.guided TARGET [SECONDS] [libFuzzer's own options]      (with ``tests`` on the path)

Starts from the target's seeds and the corpus beside this file; what it finds worth keeping goes to the folder
``$PENUMBRA_FUZZ`` names, else ``build/fuzz``. Stops at the first input that is neither read nor refused, and says
where it wrote it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import atheris

HERE = Path(__file__).parent


def main() -> None:
    """Fuzzes until the time is over or something was found."""
    name, seconds = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "60"
    with atheris.instrument_imports(include=["penumbra", "penumbra_gui", "penumbra_nuke", "penumbra_resolve"]):
        from fuzz.targets import targets

        target = targets()[name]
        for seed in target.seeds:
            target.read(seed)
    work = Path(os.environ.get("PENUMBRA_FUZZ", "build/fuzz")).absolute() / name
    corpus = work / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed_{number}").write_bytes(seed)
    folders = [str(corpus), *([str(HERE / "corpus" / name)] if (HERE / "corpus" / name).is_dir() else [])]
    dictionary = HERE / "words.dict"
    options = [
        f"-max_total_time={seconds}",
        "-timeout=60",
        "-rss_limit_mb=2048",
        "-max_len=4096",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, f"-dict={dictionary}", f"-artifact_prefix={work}/", *sys.argv[3:], *folders],
                  target.read)  # fmt: skip
    atheris.Fuzz()


if __name__ == "__main__":
    main()
