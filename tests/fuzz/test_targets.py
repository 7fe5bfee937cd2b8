"""Every reader of ours on whole inputs, on the inputs that once broke it, and on some hundred damaged ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz.mutations import damaged
from fuzz.targets import targets

CORPUS = Path(__file__).parent / "corpus"
# Building the network takes a hundred times as long as refusing it.
COUNTS = {"weights": 60, "manifest": 200, "request": 200}


@pytest.mark.parametrize("name", sorted(targets()))
def test_whole_inputs_and_those_that_once_broke_a_reader_are_read_or_refused(name: str) -> None:
    target = targets()[name]
    for data in (*target.seeds, *(path.read_bytes() for path in sorted((CORPUS / name).glob("*")))):
        target.read(data)


@pytest.mark.parametrize("name", sorted(targets()))
def test_damaged_inputs_are_read_or_refused(name: str) -> None:
    target = targets()[name]
    for seed in range(COUNTS.get(name, 400)):
        data = damaged(target.seeds[seed % len(target.seeds)], seed, target.seeds)
        try:
            target.read(data)
        except Exception as error:  # noqa: BLE001 # whatever it is, the seed is told
            pytest.fail(f"{name}, seed {seed}: {error!r} for {data[:300]!r}")


def test_every_folder_of_the_corpus_is_a_targets() -> None:
    assert {path.name for path in CORPUS.iterdir()} <= set(targets())
