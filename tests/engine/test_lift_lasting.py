"""A shadow is its maker's for as long as it lasts, where a single frame leaves open whose it is."""

import cv2
import numpy as np
import pytest

from penumbra.color import DisplayEncoding
from penumbra.frames import WorkingClip
from penumbra.lift import by_lasting_shadows
from penumbra.resizing import shrink

COUNT = 20
SMALL, FINE = (32, 64), (128, 256)  # the network's size, and the proxies': four times it
GROUND, SHADOW, OBJECT = 0.7, 0.4, 0.8
LEAST = 0.0025  # what the network gives of nothing
STEP = 3  # fine pixels that somebody walks in a frame
HEIGHT, BREADTH, LENGTH, THICK = 44, 10, 36, 5  # of objects and of their shadows, in fine pixels


class Shot:
    """Objects on a plain ground, their thin shadows on the ground to the right of their feet, and what is predicted:
    ``claimed`` of every shadow by its maker.
    """

    def __init__(self, feet, *, claimed=0.1, lifted=(), marks=()):
        """``feet``: per object (row, column at every frame), fine pixels; the first in front. ``lifted``: frames at
        which the last one jumps. ``marks``: rows and columns that are as dark as shadows, on the ground itself.
        """
        count = len(feet)
        plate = np.full((COUNT, *FINE), GROUND, np.float32)
        behind = np.full(FINE, GROUND, np.float32)
        for mark in marks:
            behind[mark] = SHADOW
        plate[:] = behind
        masks = np.zeros((COUNT, count, *FINE), np.float32)
        self.shadows = np.zeros((COUNT, count, *FINE), bool)
        for t in range(COUNT):
            free = np.ones(FINE, bool)
            for k, (row, columns) in enumerate(feet):
                up, column = 16 if t in lifted and k == count - 1 else 0, columns[t]
                body = np.zeros(FINE, bool)
                body[row - HEIGHT - up : row - up, column : column + BREADTH] = True
                masks[t, k] = body & free
                free &= ~body
                self.shadows[t, k, row - 3 : row - 3 + THICK, column + BREADTH : column + BREADTH + LENGTH] = True
            self.shadows[t] &= free
            plate[t][self.shadows[t].any(axis=0)] = SHADOW
            plate[t][~free] = OBJECT
        self.luma = np.round(255 * plate).astype(np.uint8)
        self.occupied = masks.max(axis=1) > 0
        small = [np.stack([shrink(frame, SMALL) for frame in images]) for images in (plate, behind[None])]
        frames, ground = (np.repeat(images[..., None], 3, axis=-1) for images in small)
        self.masks = np.stack([[shrink(mask, SMALL) for mask in frame] for frame in masks])
        ones, order = np.ones((COUNT, *SMALL), np.float32), np.tile(np.arange(count)[::-1], (COUNT, 1))
        names, numbers = tuple(f"object{k}" for k in range(count)), tuple(range(COUNT))
        background = np.repeat(ground, COUNT, axis=0)
        self.clip = WorkingClip(numbers, names, frames, self.masks, background, ones, ones, order, DisplayEncoding())
        self.layers = np.full((COUNT, count, *SMALL, 4), 0.5, np.float32)
        self.layers[..., 3] = np.maximum(self.masks, LEAST)
        for k in range(count):
            self.claim(range(COUNT), k, k, claimed)

    def where(self, t, k):
        """(h, w) the small pixels that a shadow fills half of, at least, and no object."""
        half = shrink(self.shadows[t, k].astype(np.float32), SMALL) > 0.5
        return half & (self.masks[t].max(axis=0) == 0)

    def claim(self, frames, k, by, alpha):
        """Lets the layer of object ``by`` have ``alpha`` of the shadow of object ``k``, and nobody else any of it."""
        for t in frames:
            self.layers[t, :, self.where(t, k), 3] = LEAST
            self.layers[t, by, self.where(t, k), 3] = alpha

    def given(self):
        """The layers as they are made."""
        layers = self.layers.copy()
        by_lasting_shadows(self.clip, self.luma, self.occupied, layers)
        return layers

    def owned(self, layers, t, k):
        """What each layer has of a shadow, in the middle."""
        return np.array([np.median(layers[t, by, self.where(t, k), 3]) for by in range(layers.shape[1])])


def walking(start, step=STEP):
    return [start + step * t for t in range(COUNT)]


AIR = range(8, 12)


def jumping():
    """One stands at the left; one walks far from him and jumps, and then the network gives his shadow to nobody."""
    shot = Shot([(60, walking(20, 0)), (110, walking(60))], lifted=AIR)
    shot.claim(AIR, 1, 1, LEAST)
    return shot


BEHIND = range(7, 11)


def passing(alpha=0.1):
    """One stands; as the other comes, his shadow falls behind the legs of the first, and then the network gives
    ``alpha`` of it to the one in front.
    """
    shot = Shot([(104, walking(100, 0)), (88, walking(20, 5))])
    shot.claim(BEHIND, 1, 0, alpha)
    return shot


def test_the_shadow_of_one_who_jumps_stays_his():
    shot = jumping()
    after = shot.given()
    for t in AIR:
        standing, jumper = shot.owned(after, t, 1)
        assert jumper > 0.05
        assert standing < 0.01


def test_the_shadow_that_falls_behind_another_stays_its_makers():
    shot = passing()
    after = shot.given()
    for t in BEHIND:
        front, behind = shot.owned(after, t, 1)
        assert behind > 5 * front
        front, behind = shot.owned(after, t, 0)
        assert front > 5 * behind


def test_nothing_is_taken_from_who_owns_it_already():
    shot = Shot([(60, walking(20, 0)), (110, walking(60))])
    more = (shot.given() - shot.layers)[..., 3]
    assert more.min() > -1e-6
    for t in range(COUNT):
        for k in range(2):
            # A small pixel's width around the shadow, which may have its edge.
            near = shrink(shot.shadows[t, k].astype(np.float32), SMALL)
            assert more[t, k][cv2.dilate(near, np.ones((3, 3))) == 0].max() < 1e-6


def test_one_object_keeps_what_it_has():
    shot = Shot([(110, walking(60))], lifted=AIR)
    shot.claim(AIR, 0, 0, LEAST)
    np.testing.assert_array_equal(shot.given(), shot.layers)


def test_colours_stay():
    shot = jumping()
    np.testing.assert_array_equal(shot.given()[..., :3], shot.layers[..., :3])


def test_a_shadow_that_was_never_surely_anybodys_is_left():
    # They go side by side, so that at no frame one of them is alone, though no mask touches the other's shadow.
    shot = Shot([(104, walking(70)), (88, walking(84))])
    shot.claim(range(8, 12), 1, 0, 0.1)
    np.testing.assert_array_equal(shot.given(), shot.layers)


def test_a_shadow_is_followed_no_longer_than_it_was_surely_known():
    shot = Shot([(60, walking(20, 0)), (110, walking(60))])
    shot.claim(range(4, COUNT), 1, 1, LEAST)
    after = shot.given()
    of_him = [shot.owned(after, t, 1)[1] > 0.05 for t in range(COUNT)]
    assert of_him == [True] * 7 + [False] * (COUNT - 7)


@pytest.mark.parametrize(
    ("his", "others", "sure"),
    [(0.1, 0.0, True), (0.03, 0.0, True), (0.015, 0.0, False), (0.06, 0.04, True), (0.04, 0.06, False)],
)
def test_a_shadow_is_surely_his_whom_the_network_gives_most_of_it_and_something(his, others, sure):
    shot = Shot([(60, walking(20, 0)), (110, walking(60))], lifted=AIR)
    for t in range(COUNT):
        for by, alpha in ((1, his), (0, others)):
            shot.layers[t, by, shot.where(t, 1), 3] = LEAST + (0 if t in AIR else alpha)
    after = shot.given()
    for t in AIR:
        assert bool(shot.owned(after, t, 1)[1] > 0.05) is sure


@pytest.mark.parametrize(("his", "sure"), [(0.95, True), (0.8, False)])
def test_of_a_shadow_that_touches_nobody_nearly_all_must_be_his(his, sure):
    # He is in the air at all frames but a few, at which the network gives nothing of it.
    shot = Shot([(60, walking(20, 0)), (110, walking(60))], lifted=range(COUNT))
    for t in range(COUNT):
        for by, share in ((1, his), (0, 1 - his)):
            shot.layers[t, by, shot.where(t, 1), 3] = LEAST + (0 if t in AIR else 0.1 * share)
    after = shot.given()
    for t in AIR:
        assert bool(shot.owned(after, t, 1)[1] > 0.05) is sure


def test_where_before_and_after_disagree_nothing_is_given():
    # Far from its maker and beside nobody, it is from some frame on surely the other's by the network.
    shot = Shot([(60, walking(20, 0)), (110, walking(60))], lifted=range(AIR.start, COUNT))
    shot.claim(AIR, 1, 1, LEAST)
    shot.claim(range(AIR.stop, COUNT), 1, 0, 0.1)
    after = shot.given()
    for t in AIR:
        assert shot.owned(after, t, 1).max() < 0.01


def test_what_the_network_is_certain_of_stays():
    shot = passing(alpha=0.6)
    after = shot.given()
    for t in BEHIND:
        assert shot.owned(after, t, 1)[0] == pytest.approx(0.6, abs=0.01)


def test_a_dark_mark_on_the_ground_is_no_shadow():
    # Where it lies the network claims something while somebody is there, and nothing when he is gone.
    mark = np.s_[30:36, 150:190]
    shot = Shot([(60, walking(20, 0)), (110, walking(60))], marks=[mark])
    shot.layers[:8, 1, 8, 38:47, 3] = 0.1
    after = shot.given()
    assert after[8:, :, 8, 38:47, 3].max() < 0.01


def painted(shot, rows, columns, value):
    """The same shot with the plate of the frames ``AIR`` painted over; ``columns`` from the last one's shadow on."""
    for t in AIR:
        left = int(np.flatnonzero(shot.shadows[t, -1].any(axis=0))[0])
        shot.luma[t, rows, left + columns.start : left + columns.stop] = round(255 * value)
    return shot


def test_a_small_part_at_the_end_of_a_shadow_may_be_anothers():
    # The shadow is shorter for some frames, and where its end was something else is dark, which the network divides.
    shot = painted(Shot([(60, walking(20, 0)), (110, walking(60))]), slice(100, 120), slice(24, 31), GROUND)
    for t in AIR:
        left = 60 + STEP * t + BREADTH
        shot.layers[t, :, 27, (left + 31) // 4 : (left + 36) // 4, 3] = [[0.07], [0.05]]
    before, after = shot.layers, shot.given()
    for t in AIR:
        end = np.s_[t, :, 27, (60 + STEP * t + BREADTH + 32) // 4, 3]
        np.testing.assert_allclose(after[end], before[end], atol=0.01)


def test_what_is_much_larger_than_what_it_came_from_is_left():
    # A shadow that runs into something dark is not followed over all of it.
    shot = painted(Shot([(60, walking(20, 0)), (110, walking(60))]), slice(70, 112), slice(10, 36), SHADOW)
    shot.claim(AIR, 1, 1, LEAST)
    after = shot.given()
    for t in AIR:
        assert shot.owned(after, t, 1).max() < 0.01


def test_two_shadows_that_run_together_are_left():
    # Something dark lies across both.
    shot = painted(Shot([(60, walking(20, 0)), (110, walking(20))]), slice(57, 112), slice(6, 10), SHADOW)
    shot.claim(AIR, 1, 0, 0.1)
    after = shot.given()
    for t in AIR[1:-1]:
        np.testing.assert_allclose(shot.owned(after, t, 1), shot.owned(shot.layers, t, 1), atol=0.01)


def beside_legs(shot, t):
    """(h, w) the small pixels beside the first object's mask that no shadow fills, at the height of the other's."""
    spilt = cv2.GaussianBlur(shot.masks[t, 0], (3, 3), 0.7)
    shadow = shrink(shot.shadows[t].max(axis=0).astype(np.float32), SMALL) > 0
    there = (
        (spilt > 0.02) & (shot.masks[t].max(axis=0) == 0) & (cv2.dilate(shadow.astype(np.uint8), np.ones((3, 3))) == 0)
    )
    there[:18] = there[24:] = False
    return there


@pytest.mark.parametrize(("claimed", "kept"), [(0.05, 0.0), (0.0, 0.08)])
def test_what_is_spilt_of_legs_is_no_claim_where_the_shadow_behind_them_goes_on(claimed, kept):
    shot = passing()
    for t in BEHIND:
        there = beside_legs(shot, t)
        assert there.any()
        shot.layers[t, 0, there, 3] = LEAST + 0.08
        shot.layers[t, 1, there, 3] = LEAST + claimed
    after = shot.given()
    for t in BEHIND:
        there = beside_legs(shot, t)
        np.testing.assert_allclose(after[t, 0, there, 3], LEAST + kept, atol=0.005)
        np.testing.assert_allclose(after[t, 1, there, 3], LEAST + claimed, atol=0.005)


def test_a_stop_asked_for_is_heeded():
    class Stopped(Exception):
        pass

    def stop():
        raise Stopped

    shot = jumping()
    with pytest.raises(Stopped):
        by_lasting_shadows(shot.clip, shot.luma, shot.occupied, shot.layers, stop)
