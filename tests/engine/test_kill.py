"""Engines killed with SIGKILL at random moments of all stages: what --resume makes of what they leave."""

import random
import shutil
import sys
from collections import Counter

import pytest

from engine.kills import STAGES, KillServer, Life, assert_same, content, write_two_objects

KILLS = 100
LONGEST_CHAIN = 12

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL and no fork")


@pytest.fixture(scope="module")
def server():
    server = KillServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def undisturbed(server, tmp_path_factory):
    """The clip's folder, what an undisturbed run left, and what it told: changes of files and seconds by stage.

    All runs write to one place, since files for hosts hold absolute paths.
    """
    folder = tmp_path_factory.mktemp("kills")
    write_two_objects(folder)
    life = new_life(server, folder)
    told = life.run()["told"]
    found = content(life.output)
    assert set(told["changes"]) == {"", *STAGES}
    return folder, found, told


def new_life(server, folder, checkpoint_seconds=30.0):
    shutil.rmtree(folder / "out", ignore_errors=True)
    return Life(server, folder, folder / "out", folder / "log", checkpoint_seconds)


def live(life, chain, told, rng):
    """Kills a run once in every stage of the chain, resuming in between, and lets it end."""
    for stage in chain:
        if rng.random() < 0.6 and told["changes"][stage]:
            answer = life.run(stage, at=rng.randint(1, told["changes"][stage]))
        else:
            answer = life.run(stage, after=rng.uniform(0, told["seconds"][stage]))
        if not answer["killed"]:
            return
    assert not life.run()["killed"]


@pytest.mark.parametrize(
    "chain", [("read", "clean plate", "refine", "lift"), ("prepare", "decompose", "lift", "finish")]
)
def test_killed_and_resumed_it_ends_in_the_same_bytes(server, undisturbed, chain):
    folder, expected, told = undisturbed
    life = new_life(server, folder, checkpoint_seconds=0.0)
    live(life, chain, told, random.Random(chain[0]))
    assert life.kills
    assert_same(life.output, expected)


@pytest.mark.slow
def test_a_hundred_kills_across_all_stages(server, undisturbed):
    folder, expected, told = undisturbed
    rng, kills = random.Random(2026), Counter()
    while kills.total() < KILLS:
        chain = sorted(rng.choices(STAGES, k=rng.randint(1, LONGEST_CHAIN)), key=STAGES.index)
        # With checkpoints at every step, and with the usual ones, which a tiny job never reaches.
        life = new_life(server, folder, rng.choice((0.0, 30.0)))
        live(life, chain, told, rng)
        kills.update(life.kills)
        assert_same(life.output, expected)
    assert set(kills) == set(STAGES), kills
