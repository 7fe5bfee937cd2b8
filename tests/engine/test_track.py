import json

import cv2
import numpy as np
import pytest

from penumbra.errors import CameraError, Stopped
from penumbra.track import CameraTrack, locked_camera, track_camera, tracker
from penumbra.track.refine import _largest

SIZE = (90, 160)


def texture(seed: int = 1, size: tuple[int, int] = (400, 600)) -> np.ndarray:
    noise = np.random.default_rng(seed)
    layers = [cv2.GaussianBlur(noise.normal(size=size).astype(np.float32), (0, 0), sigma) for sigma in (1.2, 3, 9)]
    total = sum(layer / layer.std() for layer in layers)
    return np.clip(total * 22 + 128, 0, 255).astype(np.float32)


def seen_through(picture: np.ndarray, homography: np.ndarray, size: tuple[int, int] = SIZE) -> np.ndarray:
    """The frame whose pixels ``homography`` maps into ``picture``."""
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(picture, homography, (size[1], size[0]), flags=flags)


def camera(x: float, y: float, turn: float = 0.0, zoom: float = 1.0, tilt: float = 0.0) -> np.ndarray:
    c, s = np.cos(turn) * zoom, np.sin(turn) * zoom
    return np.array([[c, -s, x], [s, c, y], [tilt, 0, 1]])


def clip(cameras: list[np.ndarray], noise: float = 1.0, picture: np.ndarray | None = None) -> np.ndarray:
    random, picture = np.random.default_rng(7), texture() if picture is None else picture
    frames = [seen_through(picture, at) + random.normal(size=SIZE) * noise for at in cameras]
    return np.clip(np.rint(frames), 0, 255).astype(np.uint8)


def follow(luma: np.ndarray, occupied: np.ndarray | None = None, scale: tuple[float, float] = (1, 1)) -> CameraTrack:
    occupied = np.zeros(luma.shape, bool) if occupied is None else occupied
    numbers = tuple(range(1001, 1001 + len(luma)))
    return track_camera(numbers, luma, occupied, scale, lambda done, total: None, lambda: False)


def corner_errors(track: CameraTrack, cameras: list[np.ndarray], size: tuple[int, int] = SIZE) -> np.ndarray:
    """Pixels (N, 4) by which the frames' corners land wrong in the reference frame."""
    ring = np.float64([[0, 0], [size[1] - 1, 0], [size[1] - 1, size[0] - 1], [0, size[0] - 1]])[:, None]
    truth = [np.linalg.inv(cameras[track.reference]) @ at for at in cameras]
    ours = [cv2.perspectiveTransform(ring, h) for h in track.homographies]
    true = [cv2.perspectiveTransform(ring, h) for h in truth]
    return np.linalg.norm(np.subtract(ours, true), axis=-1)[..., 0]


def panning(count: int) -> list[np.ndarray]:
    return [
        camera(100 + 3.3 * n, 120 + 8 * np.sin(n / 4), 0.01 * np.sin(n / 5), 1 + 0.004 * n, 2e-5 * n)
        for n in range(count)
    ]


def test_pan_with_turn_zoom_and_tilt_is_followed_to_a_tenth_of_a_pixel():
    cameras = panning(20)
    track = follow(clip(cameras))
    assert not track.locked
    assert track.warnings == ()
    assert corner_errors(track, cameras).mean() < 0.1
    assert corner_errors(track, cameras).max() < 0.4
    assert (track.homographies[track.reference] == np.eye(3)).all()
    assert (track.quality < 2).all()
    assert (track.inliers > 0.9).all()


def test_masked_objects_and_their_shadows_outside_the_masks_do_not_pull_the_camera():
    cameras = panning(16)
    luma, occupied = clip(cameras), np.zeros((16, *SIZE), bool)
    thing = np.random.default_rng(3).integers(0, 255, (40, 30), dtype=np.uint8)
    for n in range(16):
        x = 10 + 6 * n
        luma[n, 20:60, x : x + 30] = thing
        occupied[n, 20:60, x : x + 30] = True
        luma[n, 60:72, x : x + 45] //= 2
    errors = corner_errors(follow(luma, occupied), cameras)
    assert errors.mean() < 0.15
    assert errors.max() < 0.6


def test_exposure_drift_does_not_pull_the_camera():
    cameras = panning(12)
    gains = 1 + 0.05 * np.sin(np.arange(12))[:, None, None]
    luma = np.clip(clip(cameras) * gains, 0, 255).astype(np.uint8)
    assert corner_errors(follow(luma), cameras).mean() < 0.12


def test_locked_camera_is_the_identity_exactly_under_grain_flicker_and_moving_shadows():
    luma = clip([camera(100, 100)] * 14, noise=4.0).astype(np.float32)
    luma *= 1 + 0.04 * np.sin(np.arange(14))[:, None, None]
    for n in range(14):
        luma[n, 50:70, 8 * n : 8 * n + 40] *= 0.6
    track = follow(np.clip(luma, 0, 255).astype(np.uint8))
    assert track.locked
    assert (track.homographies == np.eye(3)).all()
    assert track.warnings == ()
    assert np.isfinite(track.quality).all()


def test_slow_drift_of_a_pixel_in_all_is_not_locked():
    cameras = [camera(100 + 0.12 * n, 100) for n in range(16)]
    track = follow(clip(cameras))
    assert not track.locked
    assert corner_errors(track, cameras).mean() < 0.1


def test_plate_pixels_follow_from_proxy_pixels_by_their_edges():
    cameras = [camera(100 + 6 * n, 100 + n) for n in range(8)]
    picture = texture(size=(500, 700))
    plates = [seen_through(picture, at, (181, 322)) for at in cameras]
    proxies = np.stack([cv2.resize(plate, (160, 90), interpolation=cv2.INTER_AREA) for plate in plates])
    luma = np.clip(np.rint(proxies), 0, 255).astype(np.uint8)
    track = follow(luma, scale=(322 / 160, 181 / 90))
    errors = corner_errors(track, cameras, (181, 322))
    assert errors.mean() < 0.2


def test_a_frame_that_cannot_be_followed_takes_its_neighbours_motion_and_is_named():
    cameras = panning(12)
    luma = clip(cameras)
    luma[6] = 128
    track = follow(luma)
    assert track.warnings[0].startswith("The camera could not be followed at frame 1007:")
    assert corner_errors(track, cameras)[6].max() < 2.5
    assert corner_errors(track, cameras)[[5, 7]].max() < 0.5


def test_a_cut_is_named_and_tracking_goes_on_after_it():
    before, after = clip(panning(8)), clip(panning(8), picture=texture(99))
    track = follow(np.concatenate([before, after]))
    assert any("abruptly at frame 1009" in sentence for sentence in track.warnings)
    second = CameraTrack(track.numbers[8:], track.homographies[8:], 0, False, track.quality[8:], track.inliers[8:])
    to_first = np.linalg.inv(second.homographies[0]) @ second.homographies
    moved = CameraTrack(second.numbers, to_first / to_first[:, 2:, 2:], 0, False, second.quality, second.inliers)
    assert corner_errors(moved, panning(8)).mean() < 0.2


def water_over(luma: np.ndarray, share: float) -> np.ndarray:
    """The upper ``share`` of a clip replaced by waves that come across each other, all towards one side."""
    rows, result = int(share * SIZE[0]), luma.copy()
    pictures = [texture(seed, (200, 700)) for seed in (5, 6, 7)]
    for n in range(len(luma)):
        waves = [
            seen_through(picture, camera(40 + speed * n, 40 + drift * n))
            for picture, speed, drift in zip(pictures, (3.0, 2.2, 3.6), (0.2, -0.5, 0.6), strict=True)
        ]
        result[n, :rows] = np.clip(128 + (np.mean(waves, axis=0)[:rows] - 128) * 1.7, 0, 255).astype(np.uint8)
    return result


def test_a_locked_camera_before_much_water_is_locked_and_says_why(monkeypatch: pytest.MonkeyPatch):
    luma = water_over(clip([camera(100, 100)] * 20), 0.8)
    track = follow(luma)
    assert track.locked
    assert "taken as locked off" in track.warnings[0]
    assert np.isfinite(track.quality).all()
    monkeypatch.setattr(tracker, "_stands", lambda *arguments: False)
    assert not follow(luma).locked  # the waves alone would have been followed


def test_a_camera_that_moves_before_water_is_followed():
    cameras = [camera(100 + 1.5 * n, 120 + 3 * np.sin(n / 4)) for n in range(20)]
    track = follow(water_over(clip(cameras), 0.4))
    assert not track.locked
    assert corner_errors(track, cameras)[:, 2:].mean() < 0.5  # the corners of the ground


def test_nothing_to_follow_is_taken_as_locked_with_a_warning():
    track = follow(np.full((5, *SIZE), 90, np.uint8))
    assert track.locked
    assert "too little detail" in track.warnings[0]
    everything = follow(clip(panning(5)), np.ones((5, *SIZE), bool))
    assert everything.locked
    assert everything.warnings


def test_one_frame_is_locked():
    track = follow(clip(panning(1)))
    assert track.locked
    assert track.homographies.shape == (1, 3, 3)


def test_the_same_clip_gives_the_same_bits():
    luma = clip(panning(8))
    first, second = follow(luma), follow(luma)
    assert first.homographies.tobytes() == second.homographies.tobytes()
    assert first.quality.tobytes() == second.quality.tobytes()


def test_progress_reaches_its_total_and_stopping_is_obeyed():
    luma, told = clip(panning(5)), []
    track_camera(
        range(5), luma, np.zeros(luma.shape, bool), (1, 1), lambda *units: told.append(units), lambda: len(told) > 99
    )
    assert told[-1][0] == told[-1][1]
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    with pytest.raises(Stopped):
        track_camera(range(5), luma, np.zeros(luma.shape, bool), (1, 1), lambda *units: None, lambda: True)


@pytest.mark.slow
def test_three_hundred_frames_that_return_to_their_start_do_not_drift():
    """A loop in the plane: the way back is not the way out, so only seeing the start again closes it."""
    angles = np.linspace(0, 2 * np.pi, 300)
    cameras = [camera(220 + 150 * np.cos(a), 150 + 110 * np.sin(a)) for a in angles]
    track = follow(clip(cameras, noise=2.0))
    errors = corner_errors(track, cameras)
    assert errors.mean() < 0.5
    ends = np.linalg.inv(track.homographies[0]) @ track.homographies[-1]
    assert np.abs(cv2.perspectiveTransform(np.float64([[[80, 45]]]), ends) - (80, 45)).max() < 0.1


@pytest.mark.slow
def test_five_hundred_frames_of_turning_zooming_and_panning_do_not_drift():
    """Out along one way and back along another, so that the last frames are five hundred from the first, beside it."""
    t = np.linspace(0, 2 * np.pi, 500)
    cameras = [
        camera(220 + 120 * np.cos(a), 150 + 90 * np.sin(a), 0.15 * np.sin(a), 1 + 0.25 * np.sin(a / 2) ** 2) for a in t
    ]
    track = follow(clip(cameras, noise=1.5))
    errors = corner_errors(track, cameras)
    assert errors.mean() < 0.5
    between = np.linalg.inv(cameras[0]) @ cameras[-1]
    ends = np.linalg.inv(track.homographies[0]) @ track.homographies[-1]
    middle = np.float64([[[80, 45]]])
    drift = cv2.perspectiveTransform(middle, ends) - cv2.perspectiveTransform(middle, between)
    assert np.abs(drift).max() < 0.15


def test_a_track_survives_json_to_the_bit():
    track = follow(clip(panning(5)))
    again = CameraTrack.from_dict(json.loads(json.dumps(track.to_dict())))
    assert again.homographies.tobytes() == track.homographies.tobytes()
    assert again.quality.tobytes() == track.quality.tobytes()
    assert (again.numbers, again.reference, again.locked) == (track.numbers, track.reference, track.locked)
    unknown = CameraTrack.from_dict(json.loads(json.dumps(locked_camera((3, 4)).to_dict(), allow_nan=False)))
    assert unknown.locked
    assert np.isnan(unknown.quality).all()


@pytest.mark.parametrize("damage", [{"numbers": [1]}, {"homographies": "x"}, {"penumbra_camera": 9}, {"reference": 7}])
def test_damaged_camera_data_is_refused(damage: dict):
    body = locked_camera((1, 2)).to_dict() | damage
    with pytest.raises(CameraError):
        CameraTrack.from_dict(body)
    with pytest.raises(CameraError):
        CameraTrack.from_dict(None)


@pytest.mark.parametrize("values", [3, 1000, 10**9])
@pytest.mark.parametrize("count", [1, 7, 400, 1200, 1300])
def test_the_largest_are_a_stable_sorts_beginning_ties_included(values, count):
    field = (np.random.default_rng(values + count).integers(-1, values, 1200) / 7).astype(np.float32)
    assert np.array_equal(_largest(field, count), np.argsort(-field, kind="stable")[:count])
