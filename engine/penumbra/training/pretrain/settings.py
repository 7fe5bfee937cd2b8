"""What a pretraining run is asked to do, as JSON beside its weights."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from penumbra.contract import LONGEST_SIDE
from penumbra.errors import JobError
from penumbra.training.clip_pool import ClipSettings
from penumbra.training.scene_pool import PoolSettings
from penumbra.training.window_batches import HIDINGS, Hiding

_PRECISIONS = ("bfloat16", "float32")
_OPTIMISERS = ("adamw", "muon")
MOST_STAGES = 1000
LARGEST = 2**63
LARGEST_SEED = 2**40  # every step's own is a million times as large
_T = TypeVar("_T")


@dataclass(frozen=True)
class Stage:
    """A part of the run at one working size: ``share`` of its steps or minutes; ``batch`` and ``learning_rate`` of its
    own where they are given.
    """

    height: int
    width: int
    share: float = 1.0
    batch: int | None = None
    learning_rate: float | None = None

    def __post_init__(self) -> None:
        _check_size(self.height, self.width)
        if self.share <= 0:
            raise JobError(f"A stage cannot have a share of {self.share}.", "Choose more than 0.")
        if self.batch is not None and self.batch < 1:
            raise JobError(f"A stage cannot have a batch of {self.batch}.", "Choose 1 or more.")
        if self.learning_rate is not None and self.learning_rate <= 0:
            raise JobError(f"A stage cannot have a learning rate of {self.learning_rate}.", "Choose more than 0.")


@dataclass(frozen=True)
class PretrainSettings:
    """One run. :data:`FREE` may be changed on resuming; everything else is fixed by the first start.

    With ``minutes`` set the learning rate falls with the time spent, which a busy machine needs, and the run ends with
    them; without, it depends on the step alone and a resumed run equals an uninterrupted one.

    ``batch`` counts objects: half as many windows where each holds two. ``warm_up`` steps of rising and then a cosine
    of falling learning rate; ``clip_norm`` bounds the gradient's norm, None leaves it; ``ema`` is the decay of the
    running mean of the weights; ``optimiser`` adamw or muon; ``precision`` of the network's arithmetic: float32, or
    bfloat16 where the device has it. ``hiding``: see :func:`draw_changes`. Pixels of effects outside the masks count
    ``effect_weight`` more than once in reconstruction, unless the background may move by itself.

    ``start``: a .safetensors file to go on from, with a fresh optimiser and without the early phase in which the mask
    term rules; None for random weights. ``stages``: the working sizes one after the other; none means the pool's
    throughout. ``clips``: clips on disk, beside rendered scenes or instead of them.

    ``device`` as a job names it. ``compile``: the network's parts go through torch.compile; ``channels_last``: in that
    layout. ``board``: TensorBoard's files are written.
    """

    seed: int = 1
    steps: int = 4000
    minutes: float | None = None
    batch: int = 30
    learning_rate: float = 1e-3
    final_rate: float = 0.02
    warm_up: int = 200
    weight_decay: float = 1e-4
    clip_norm: float | None = 1.0
    ema: float = 0.998
    optimiser: Literal["adamw", "muon"] = "adamw"
    precision: str = "bfloat16"
    hiding: Hiding = "random"
    effect_weight: float = 0.0
    start: str | None = None
    checkpoint_minutes: float = 5.0
    evaluate_every: int = 250
    log_every: int = 20
    device: str = "cpu"
    compile: bool = False
    channels_last: bool = False
    board: bool = True
    pool: PoolSettings = field(default_factory=PoolSettings)
    stages: tuple[Stage, ...] = ()
    clips: ClipSettings | None = None

    def __post_init__(self) -> None:
        _check_size(self.pool.height, self.pool.width)
        for name, known in (("precision", _PRECISIONS), ("optimiser", _OPTIMISERS), ("hiding", HIDINGS)):
            if getattr(self, name) not in known:
                raise JobError(f"The {name} {getattr(self, name)!r} is not known.", f"Use {' or '.join(known)}.")
        for name in ("steps", "batch", "log_every"):
            if getattr(self, name) < 1:
                raise JobError(f"Pretraining cannot have {name} {getattr(self, name)}.", "Choose 1 or more.")
        for name in ("learning_rate", "minutes", "clip_norm"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise JobError(f"Pretraining cannot have {name} {value}.", "Choose more than 0.")
        for name, most in (("seed", LARGEST_SEED), ("weight_decay", 1), ("final_rate", 1), ("ema", 1)):
            if not 0 <= getattr(self, name) <= most:
                raise JobError(f"Pretraining cannot have {name} {getattr(self, name)}.", f"Choose 0 to {most}.")
        for name in ("warm_up", "effect_weight", "evaluate_every", "checkpoint_minutes"):
            if getattr(self, name) < 0:
                raise JobError(f"Pretraining cannot have {name} {getattr(self, name)}.", "Choose 0 or more.")

    @property
    def all_stages(self) -> tuple[Stage, ...]:
        """The stages, of which there is at least one."""
        return self.stages or (Stage(self.pool.height, self.pool.width),)

    def to_json(self) -> str:
        """What :func:`settings_from_json` reads."""
        return json.dumps(asdict(self), indent=1) + "\n"


# What may differ from a run's first start: how long, on what, and what is told meanwhile.
FREE = ("steps", "minutes", "device", "compile", "channels_last", "board", "checkpoint_minutes", "log_every")


def settings_from_json(text: str) -> PretrainSettings:
    """Settings as :meth:`PretrainSettings.to_json` writes them; what is left out is as by default.

    Raises :class:`JobError` naming an unknown key or an impossible value.
    """
    try:
        data: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise JobError(
            f"The pretraining settings are not valid JSON: {error}.", "Mend the file at that place."
        ) from error
    if not isinstance(data, dict):
        raise JobError("The pretraining settings are no JSON object.", 'Write {"steps": 1000} and the like.')
    parts: dict[str, Any] = {}
    if "pool" in data:
        parts["pool"] = _built(PoolSettings, data.pop("pool"))
    if data.get("clips") is not None:
        parts["clips"] = _built(ClipSettings, data.pop("clips"))
    if "stages" in data:
        stages = data.pop("stages")
        if not isinstance(stages, list) or len(stages) > MOST_STAGES:
            raise JobError("The pretraining settings have stages that are no short list.", "Write them in brackets.")
        parts["stages"] = tuple(_built(Stage, stage) for stage in stages)
    return _built(PretrainSettings, {**data, **parts})


def _built(kind: type[_T], data: Any) -> _T:
    """A settings object from JSON's types; lists become tuples."""
    if not isinstance(data, dict):
        raise JobError(f"The pretraining settings have {data!r} where an object belongs.", "Write it in braces.")
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type] # every kind is a dataclass
    if unknown := set(data) - known:
        raise JobError(f"The pretraining settings have an unknown key {min(unknown)!r}.", "Remove it.")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
    hints = get_type_hints(kind)
    for key, value in values.items():
        if not _fits(value, hints[key]):
            raise JobError(f"The pretraining settings have {value!r} for {key!r}.", "Mend that value.")
    try:
        return kind(**values)
    except TypeError as error:
        raise JobError(f"The pretraining settings do not fit: {error}.", "Mend that value.") from error


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a field's type; numbers are finite and of a size that means something."""
    origin, inside = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, one) for one in inside)
    if origin is Literal:
        return value in inside
    if origin is tuple:
        kinds = inside[:1] * len(value) if isinstance(value, tuple) and inside[-1] is Ellipsis else inside
        return isinstance(value, tuple) and len(value) == len(kinds) and all(map(_fits, value, kinds))
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST
    if hint is int:
        return type(value) is int and abs(value) < LARGEST
    return value is None if hint is NoneType else isinstance(value, hint)


def _check_size(height: int, width: int) -> None:
    if min(height, width) < 16 or height % 16 or width % 16 or max(height, width) > LONGEST_SIDE:
        raise JobError(f"The working size {height}x{width} is impossible.", "Choose multiples of 16.")
