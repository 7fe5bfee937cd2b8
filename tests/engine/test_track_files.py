from pathlib import Path

import numpy as np
import pytest

from penumbra.color import LinearSpace
from penumbra.errors import CameraError, OutputError
from penumbra.frames import Footage, Region
from penumbra.track import CameraTrack, locked_camera, read_homographies, write_homographies


def footage(count: int = 3, width: int = 427, height: int = 240, first: int = 1) -> Footage:
    region = Region(0, 0, width, height)
    return Footage("p", tuple(range(first, first + count)), region, region, LinearSpace("lin_rec709"), "srgb")


def moved(x: float, y: float, turn: float = 0.0) -> np.ndarray:
    return np.array([[1.0, turn, x], [-turn, 1.0, y], [1e-5, 0, 1]])


def track_of(homographies: list[np.ndarray], first: int = 1) -> CameraTrack:
    count = len(homographies)
    quality = np.linspace(1, 2, count).astype(np.float32)
    return CameraTrack(tuple(range(first, first + count)), np.stack(homographies), 0, False, quality, quality, ("Hm.",))


def omnimatte(to_world: list[np.ndarray], size: str = "size: 854 480", bounds: str = "bounds: 0 1 0 1") -> str:
    rows = [" ".join(f"{v:.10f}" for v in np.linalg.inv(h).ravel()) + " " for h in to_world]
    return "\n".join([size, bounds, *rows]) + "\n"


def at(homography: np.ndarray, x: float, y: float) -> np.ndarray:
    lifted = homography @ (x, y, 1)
    return lifted[:2] / lifted[2]


def test_omnimatte_text_maps_frames_to_the_world_by_its_inverse_and_is_rescaled_by_pixel_edges(tmp_path: Path):
    to_world = [np.eye(3), moved(20, 4, 0.01), moved(46, 6, 0.02)]
    (tmp_path / "h.txt").write_text(omnimatte(to_world))
    track = read_homographies(tmp_path / "h.txt", footage())
    scale = (427 / 854, 240 / 480)
    for index, point in ((0, (0, 0)), (1, (400, 30)), (2, (13, 200))):
        big = [(p + 0.5) / s - 0.5 for p, s in zip(point, scale, strict=True)]
        relative = np.linalg.inv(to_world[track.reference]) @ to_world[index]
        expected = [(p + 0.5) * s - 0.5 for p, s in zip(at(relative, *big), scale, strict=True)]
        assert at(track.homographies[index], *point) == pytest.approx(expected, abs=1e-5)
    assert not track.locked
    assert (track.homographies[track.reference] == np.eye(3)).all()


def test_identities_in_a_file_are_a_locked_camera(tmp_path: Path):
    (tmp_path / "h.txt").write_text(omnimatte([np.eye(3)] * 3))
    assert read_homographies(tmp_path / "h.txt", footage()).locked


def test_own_json_comes_back_to_the_bit_and_whole(tmp_path: Path):
    track = track_of([np.eye(3), moved(3, 1), moved(7, 2)])
    write_homographies(track, tmp_path / "camera.json")
    again = read_homographies(tmp_path / "camera.json", footage())
    assert again.homographies == pytest.approx(track.homographies, abs=1e-12)
    assert (again.quality == track.quality).all()
    assert again.warnings == track.warnings
    assert [path.name for path in tmp_path.iterdir()] == ["camera.json"]


def test_own_json_is_chosen_by_frame_number_and_rescaled(tmp_path: Path):
    track = track_of([np.eye(3), moved(10, 2), moved(20, 4), moved(30, 6)], first=1001)
    write_homographies(track, tmp_path / "camera.json", size=(480, 854))
    again = read_homographies(tmp_path / "camera.json", footage(2, first=1003))
    assert again.numbers == (1003, 1004)
    relative = np.linalg.inv(track.homographies[2 + again.reference]) @ track.homographies[3]
    expected = (at(relative, 99.5, 199.5) + 0.5) / 2 - 0.5
    assert at(again.homographies[1], 49.5, 99.5) == pytest.approx(expected, abs=1e-6)
    locked = tmp_path / "locked.json"
    write_homographies(locked_camera((1, 2, 3)), locked, size=(480, 854))
    assert (read_homographies(locked, footage()).homographies == np.eye(3)).all()


def test_omnimatte_text_comes_back_as_the_same_camera(tmp_path: Path):
    track = track_of([np.eye(3), moved(20, 4, 0.01), moved(46, 6, 0.02)])
    write_homographies(track, tmp_path / "camera.txt", size=(240, 427))
    lines = (tmp_path / "camera.txt").read_text().splitlines()
    assert lines[0] == "size: 427 240"
    left, right, top, bottom = (float(word) for word in lines[1].split()[1:])
    assert left <= 0 <= 427 <= right
    assert top <= 0 <= 240 <= bottom
    again = read_homographies(tmp_path / "camera.txt", footage())
    for index in range(3):
        expected = np.linalg.inv(track.homographies[again.reference]) @ track.homographies[index]
        for point in ((0, 0), (426, 0), (13, 239)):
            assert at(again.homographies[index], *point) == pytest.approx(at(expected, *point), abs=1e-6)
    with pytest.raises(CameraError, match="needs the plate's size"):
        write_homographies(track, tmp_path / "other.txt")
    assert not (tmp_path / "other.txt").exists()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("size: 10 10\n1 0 0 0 1 0 0 0 1\n", "1 homographies for 3 frames"),
        ("size: 10 10\nhello\n", "Line 2"),
        ("1 0 0 0 1 0 0 0\n" * 3, "Line 1"),
        ("1 0 0 0 1 0 0 0 nan\n" * 3, "Line 1"),
        ("1 0 0 0 1 0 0 0 1\n0 0 0 0 0 0 0 0 1\n1 0 0 0 1 0 0 0 1\n", "Line 2"),
        ("size: ten 10\n" + "1 0 0 0 1 0 0 0 1\n" * 3, "Line 1"),
        ("size: 0 10\n" + "1 0 0 0 1 0 0 0 1\n" * 3, "Line 1"),
        ("1 0 0 0 1 0 0 0 1\n1 0 9e9 0 1 0 0 0 1\n1 0 0 0 1 0 0 0 1\n", "out of the picture plane"),
        ("", "0 homographies"),
        ("{", "not a Penumbra camera track"),
        ("{}", "not a Penumbra camera track"),
        ("[1]", "Line 1"),
    ],
)
def test_every_unusable_file_gets_a_sentence(tmp_path: Path, text: str, sentence: str):
    path = tmp_path / "h.txt"
    path.write_text(text)
    with pytest.raises(CameraError, match=sentence) as caught:
        read_homographies(path, footage())
    assert "h.txt" in caught.value.sentence
    assert caught.value.fix


def test_files_that_are_absent_binary_or_of_other_frames_get_a_sentence(tmp_path: Path):
    with pytest.raises(CameraError, match="cannot be read"):
        read_homographies(tmp_path / "none.txt", footage())
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CameraError, match="cannot be read"):
        read_homographies(tmp_path / "b.txt", footage())
    write_homographies(locked_camera((1, 2)), tmp_path / "c.json")
    with pytest.raises(CameraError, match="no homography for frame 3"):
        read_homographies(tmp_path / "c.json", footage())
    with pytest.raises(OutputError, match="cannot be written"):
        write_homographies(locked_camera((1, 2)), tmp_path / "none" / "c.json")
