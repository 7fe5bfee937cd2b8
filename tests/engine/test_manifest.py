"""The manifest: what is written is what the schema and docs/manifest.md say, and what is read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from fakes.clips import make_footage, make_plate, take_apart
from penumbra.errors import OutputError
from penumbra.job import OutputSettings, job_from_dict
from penumbra.write import (
    FrameVerdict,
    FrameWriter,
    frame_entry,
    load_manifest,
    manifest_schema,
    verify_frame,
    write_manifest,
)

DOCUMENT = Path(__file__).parents[2] / "docs" / "manifest.md"
JOB = job_from_dict(
    {
        "penumbra_job": 1,
        "plate": {"path": "shot_%04d.exr"},
        "masks": [{"name": "ball", "path": "ball_%04d.png"}, {"name": "dog", "path": "dog_%04d.png"}],
        "output": {"folder": "out"},
    }
)


def verdict(number: int, error: float = 1e-4, **given: Any) -> FrameVerdict:
    facts = {"max_excess": -1e-4, "unresolved": 2, "alpha_ok": True, "colour_ok": True, "worst": (3, -4)}
    return FrameVerdict(number, error, error / 10, **{**facts, **given})


def manifest(folder: Path, **given: Any) -> dict[str, Any]:
    return {
        "engine": "0.1.0",
        "job": JOB.to_dict(),
        "plate": {
            "path": "shot_%04d.exr",
            "frames": "-1-10",
            "padding": 4,
            "size": [61, 37],
            "display_window": [0, 0, 61, 37],
            "canvas": [-2, 0, 63, 37],
            "pixel_aspect": 1.0,
            "fps": "24000/1001",
            "timecode": None,
            "source_space": "lin_rec709",
            "space": "lin_rec709",
        },
        "objects": [
            {"name": "ball", "mask": folder / "masks" / "ball_%04d.png", "missing_frames": []},
            {"name": "dog", "color": "#123456", "mask": folder.parent / "dog_%04d.png", "missing_frames": [10]},
        ],
        "order": {10: ["ball", "dog"], 9: ["ball", "dog"], -1: ["dog", "ball"]},
        "weights": {"name": "penumbra-1", "sha256": "0" * 64},
        "provider": "CPUExecutionProvider",
        "working_size": [64, 112],
        "noise": 0.01,
        "camera": {"mode": "auto", "locked": True, "quality": {"median": 0.4}, "homographies": None},
        "clean_plate": {"own": None, "never_seen_share": 0.02},
        "frames": {number: frame_entry(verdict(number, 10.0**-5 * (20 + number))) for number in (10, -1, 9)},
        "warnings": ["Mask dog has no frame 10: taken as empty. 影"],
        "seconds": {"read": 1.5},
        **given,
    }


def test_what_is_written_is_valid_and_comes_back(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, manifest(tmp_path))
    assert path == tmp_path / "manifest.json"
    back = load_manifest(tmp_path)
    jsonschema.Draft202012Validator.check_schema(manifest_schema())
    jsonschema.validate(back, manifest_schema())
    assert back["penumbra_manifest"] == 1
    assert back["job"] == JOB.to_dict()
    assert list(back["frames"]) == list(back["order"]) == ["-1", "9", "10"]
    assert back["order"]["-1"] == ["dog", "ball"]
    assert back["totals"] == {
        "frames": 3,
        "complete": True,
        "recomposition_max": pytest.approx(30e-5),
        "recomposition_mean": pytest.approx(26e-6),
        "unresolved": 6,
        "within_bound": True,
    }
    assert back["warnings"][0].endswith("影")
    assert "影" in path.read_text(encoding="utf-8")
    assert write_manifest(tmp_path, back).read_bytes() == path.read_bytes()


def test_paths_inside_the_folder_are_relative_to_it(tmp_path: Path) -> None:
    write_manifest(tmp_path, manifest(tmp_path))
    ball, dog = load_manifest(tmp_path)["objects"]
    assert ball["mask"] == "masks/ball_%04d.png"
    assert dog["mask"] == str(tmp_path.parent / "dog_%04d.png")


def test_every_object_has_a_colour_of_its_own(tmp_path: Path) -> None:
    names = [f"object{i}" for i in range(12)]
    write_manifest(tmp_path, manifest(tmp_path, objects=[{"name": name} for name in names]))
    colours = [entry["color"] for entry in load_manifest(tmp_path)["objects"]]
    assert len(set(colours)) == 12
    write_manifest(tmp_path, manifest(tmp_path))
    assert load_manifest(tmp_path)["objects"][1]["color"] == "#123456"
    jsonschema.validate(load_manifest(tmp_path), manifest_schema())


def test_a_run_that_is_not_finished_says_so(tmp_path: Path) -> None:
    body = manifest(tmp_path)
    del body["frames"][9]
    write_manifest(tmp_path, body)
    assert load_manifest(tmp_path)["totals"]["complete"] is False
    body["frames"] = {}
    write_manifest(tmp_path, body)
    jsonschema.validate(load_manifest(tmp_path), manifest_schema())
    assert load_manifest(tmp_path)["totals"]["frames"] == 0


def test_a_resumed_run_adds_its_frames(tmp_path: Path) -> None:
    body = manifest(tmp_path)
    late = {9: body["frames"].pop(9)}
    write_manifest(tmp_path, body)
    first = load_manifest(tmp_path)
    write_manifest(tmp_path, {**first, "frames": {**first["frames"], **late}})
    resumed = load_manifest(tmp_path)
    write_manifest(tmp_path, manifest(tmp_path))
    assert resumed == load_manifest(tmp_path)


def test_errors_that_are_not_finite_are_null_and_not_within(tmp_path: Path) -> None:
    entry = frame_entry(verdict(9, float("inf"), max_excess=float("inf")))
    assert entry["recomposition_max"] is None
    assert entry["within_bound"] is False
    write_manifest(tmp_path, manifest(tmp_path, frames={9: entry}, seconds={"read": float("nan")}))
    back = load_manifest(tmp_path)
    assert back["totals"]["recomposition_max"] is None
    assert back["seconds"] == {"read": None}


def test_the_entry_of_real_files_is_valid(tmp_path: Path) -> None:
    footage = make_footage()
    plate = make_plate(footage)
    FrameWriter(tmp_path, footage, OutputSettings("out"), "").write(take_apart(plate), plate.data)
    entry = frame_entry(verify_frame(tmp_path, footage, ("back", "front"), plate))
    write_manifest(tmp_path, manifest(tmp_path, frames={1001: entry}))
    back = load_manifest(tmp_path)
    jsonschema.validate(back, manifest_schema())
    assert back["frames"]["1001"] == json.loads(json.dumps(entry))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ("[]", "is of version None"),
        ('{"penumbra_manifest": 2}', "is of version 2; this engine reads version 1"),
        ('{"penumbra_manifest": 1}', "has no valid"),
        ('{"penumbra_manifest": 1, "frames": {}, "order": {"x": []}}', "has no valid 'order'"),
        ('{"penumbra_manifest": 1, "frames": {}, "order": {"1": "ball"}}', "has no valid 'order'"),
        ('{"penumbra_manifest": 1, "frames": {"1": 2}, "order": {}}', "has no valid 'frames'"),
    ],
)
def test_damaged_manifests_are_sentences(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(OutputError, match=sentence):
        load_manifest(tmp_path)


def test_bytes_that_are_no_text_and_no_file_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"There is no manifest\.json"):
        load_manifest(tmp_path)
    (tmp_path / "manifest.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(OutputError, match="cannot be read"):
        load_manifest(tmp_path)


def test_an_unwritable_manifest_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"manifest\.json could not be written"):
        write_manifest(tmp_path / "file" / "out", manifest(tmp_path))


def test_every_key_is_documented() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")

    def keys(schema: Any) -> set[str]:
        if not isinstance(schema, dict):
            return set()
        own = set(schema.get("properties", {}))
        return own.union(*(keys(part) for part in [*schema.values(), *schema.get("properties", {}).values()]))

    missing = {key for key in keys(manifest_schema()) if f"`{key}`" not in text}
    assert not missing
