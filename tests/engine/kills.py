"""A small job killed again and again until it is done, and what must be true of it then."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from engine.tiny_clip import picture, write_image
from penumbra.launch import child_environment

FIRST, FRAMES, SIZE = 1001, 6, (48, 64)
STAGES = ("read", "track", "clean plate", "prepare", "refine", "decompose", "lift", "previews", "finish")
# What a fact of the journal speaks of, in the work folder.
MADE = {
    "read": ("frames.npy", "masks.npy", "luma.npy", "occupied.npy"),
    "clean_plate": ("clean_plate/*.npy",),
    "prepared": ("encoded.npy", "background.npy", "valid.npy", "believed.npy"),
    "weights": ("graphs/*.onnx", "refined.safetensors"),
    "low": ("low.npy",),
    "previews": ("../preview/*",),
}


class KillServer:
    """The program that runs engines and kills them."""

    def __init__(self):
        environment = {**child_environment(), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("kill_server.py"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        assert self._process.stdout.readline() == "ready\n"

    def __call__(self, **request):
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def write_two_objects(folder):
    """A clip of a few frames with two objects."""
    for index in range(FRAMES):
        plate, mask = picture(index, SIZE)
        other = picture(FRAMES - 1 - index, SIZE)[1][::-1].copy()
        plate[other > 0] = (0.1, 0.3, 0.8)
        write_image(folder / f"plate.{FIRST + index}.exr", plate)
        write_image(folder / f"box.{FIRST + index}.exr", mask)
        write_image(folder / f"ball.{FIRST + index}.exr", other)


@dataclass
class Life:
    """One output folder from its first start to its end. ``kills``: the stages in which it was killed."""

    server: KillServer
    clip: Path
    output: Path
    log: Path
    checkpoint_seconds: float = 30.0
    started: bool = False
    kills: list = field(default_factory=list)

    def run(self, stage=None, at=None, after=None):
        """One process: to its end, or killed in a stage, before its ``at``-th change of a file or ``after`` seconds.

        Sees that nothing was made again that was finished before. Returns what the process told of itself.
        """
        before = finished(self.output)
        answer = self.server(
            arguments=[*self._arguments(), *(["--resume"] if self.started else [])], folder=str(self.output),
            log=str(self.log), stage=stage, at=at, after=after, checkpoint_seconds=self.checkpoint_seconds,
        )  # fmt: skip
        self.started = True
        log = self.log.read_text() + Path(f"{self.log}.err").read_text()
        assert answer["killed"] or answer["code"] == 0, log
        if answer["killed"]:
            self.kills.append(stage)
        assert_kept(before, self.output)
        return answer

    def _arguments(self):
        masks = [f"--mask={name}={self.clip / name}.####.exr" for name in ("box", "ball")]
        return [
            "decompose", str(self.clip / "plate.####.exr"), *masks, "-o", str(self.output), "--refine", "6",
            "--weights", "random", "--size", "32x32", "--clean", "--json",
        ]  # fmt: skip


def finished(output):
    """What the journal calls finished: file -> (inode, time), of frames and of stages."""
    kept, work = {}, output / ".penumbra"
    for fact in _facts(work):
        for pattern in MADE.get(fact, ()):
            kept.update({path: stamp(path) for path in work.glob(pattern)})
    if (work / "frames.jsonl").exists():
        for line in (work / "frames.jsonl").read_text().splitlines():
            number = json.loads(line)["frame"]
            kept.update({path: stamp(path) for path in output.glob(f"*/*.{number}.exr")})
    return kept


def stamp(path):
    facts = path.stat()
    return facts.st_ino, facts.st_mtime_ns


def _facts(work):
    journal = work / "journal.json"
    return json.loads(journal.read_text()) if journal.exists() else {}


def assert_kept(before, output):
    """Nothing that was finished was made again; only the end removes what the work needed."""
    work = output / ".penumbra"
    for path, known in before.items():
        if path.exists():
            assert stamp(path) == known, f"{path} was finished and was made again"
        else:
            assert work in path.parents, f"{path} was finished and is gone"
            assert _facts(work).get("finished"), f"{path} was finished and is gone"


def content(output):
    """Every file below an output folder, the work folder included, by its relative name; times left out."""
    return {path.relative_to(output).as_posix(): _bytes(path) for path in sorted(output.rglob("*")) if path.is_file()}


def _bytes(path):
    if (
        path.name == "frames.jsonl"
    ):  # in the order in which threads finished, and once more where a lost file was made anew
        return sorted(set(path.read_bytes().splitlines()))
    if path.suffix == ".json":
        body = json.loads(path.read_text())
        body.pop("seconds", None)
        return body
    return path.read_bytes()


def assert_same(output, undisturbed):
    """``output`` holds what :func:`content` told of the ``undisturbed`` one, and not a file or folder more."""
    made = content(output)
    assert sorted(made) == sorted(undisturbed)
    assert [name for name in made if made[name] != undisturbed[name]] == []
    assert [path for path in output.rglob("*") if path.is_dir() and not any(path.iterdir())] == []
