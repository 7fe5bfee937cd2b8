"""What the engine says of the footage chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Sentence:
    """What is wrong, or worth knowing, and what to do about it; ``severity`` is ``error``, ``warning`` or ``note``."""

    severity: str
    text: str
    fix: str = ""
    code: str = ""

    def __str__(self) -> str:
        return f"{self.text} {self.fix}".strip()

    @classmethod
    def of_error(cls, error: dict[str, Any]) -> Sentence:
        """From an error as the engine tells it."""
        return cls("error", str(error.get("message", "")), str(error.get("fix", "")), str(error.get("code", "")))


@dataclass(frozen=True)
class PlateFacts:
    """The plate. ``canvas``: x, y, width, height in the display window, pixels; ``space`` its linear colour space."""

    first: int
    last: int
    width: int
    height: int
    canvas: tuple[int, int, int, int]
    pixel_aspect: float
    fps: float | None
    space: str
    source_space: str
    whole: tuple[int, int]

    @classmethod
    def of_answer(cls, facts: dict[str, Any]) -> PlateFacts:
        """From the engine's answer."""
        first, last = int(facts["first"]), int(facts["last"])
        left, _, right = str(facts.get("on_disk", "")).partition(":")
        whole = (int(left), int(right)) if right else (first, last)
        x, y, width, height = facts["canvas"]
        return cls(
            first, last, facts["width"], facts["height"], (x, y, width, height), facts["pixel_aspect"], facts["fps"],
            facts["space"], facts["source_space"], whole,
        )  # fmt: skip

    def __str__(self) -> str:
        rate = f", {self.fps:.6g} fps" if self.fps else ""
        return f"{self.width}x{self.height}, {self.first}-{self.last}{rate}, {self.source_space}"


@dataclass(frozen=True)
class MaskFacts:
    """One mask: what can be chosen of it, and what is to be said about it."""

    name: str
    channels: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    sentences: tuple[Sentence, ...] = ()

    def choices(self) -> tuple[str, ...]:
        """Everything the channel picker offers, as a job file spells it."""
        named = (f"channel:{name}" for name in self.channels)
        usual = ("auto", "luminance", *(("alpha",) if "A" in self.channels else ()))
        return (*usual, *(named if len(self.channels) > 1 else ()), *self.ids)

    @classmethod
    def of_answer(cls, answer: dict[str, Any]) -> MaskFacts:
        """From the engine's answer."""
        numbers = [value for value in answer.get("id_values") or () if value is not None]
        # A mask of black and white only is no ID image.
        ids = [f"id:{value}" for value in numbers if value != 0] if len(numbers) > 2 else []
        colors = [value for value in answer.get("id_colors") or () if value != "000000"]
        ids += [f"color:{value}" for value in colors] if len(colors) > 1 and _is_colorful(colors) else []
        return cls(str(answer["name"]), tuple(answer.get("channels") or ()), tuple(ids), sentences_of(answer))


@dataclass(frozen=True)
class Verdict:
    """The engine's answer on all footage. ``plate`` None: it cannot be used, and ``sentences`` say why."""

    plate: PlateFacts | None
    masks: tuple[MaskFacts, ...]
    sentences: tuple[Sentence, ...]
    clean_plate: tuple[Sentence, ...] = ()
    span: tuple[int, int] | None = None

    @property
    def usable(self) -> bool:
        """Nothing chosen so far is wrong."""
        return self.plate is not None and not self.first_error

    @property
    def first_error(self) -> str:
        """What has to be mended before a run, and where; empty for nothing."""
        own = [str(sentence) for sentence in (*self.sentences, *self.clean_plate) if sentence.severity == "error"]
        masks = [mask.name for mask in self.masks if any(sentence.severity == "error" for sentence in mask.sentences)]
        of_masks = [f"To be mended first: mask {', '.join(masks)}."] if masks else []
        return next(iter((*own, *of_masks)), "")

    @classmethod
    def of_answer(cls, answer: dict[str, Any]) -> Verdict:
        """From the engine's answer to ``check``."""
        if "error" in answer:
            return cls(None, (), (Sentence.of_error(answer["error"]),))
        plate = answer["plate"]
        facts = PlateFacts.of_answer(plate["facts"]) if "facts" in plate else None
        masks = tuple(MaskFacts.of_answer(mask) for mask in answer.get("masks", []))
        clean = sentences_of(answer["clean_plate"] or {})
        ranges = (plate.get("inspection") or {}).get("frames") or []
        span = (int(ranges[0][0]), int(ranges[-1][1])) if ranges else None
        return cls(facts, masks, sentences_of(plate), clean, facts.whole if facts else span)


def sentences_of(answer: dict[str, Any]) -> tuple[Sentence, ...]:
    """The error and the warnings in one part of an answer."""
    errors = [Sentence.of_error(answer["error"])] if answer.get("error") else []
    return (*errors, *(Sentence("warning", str(text)) for text in answer.get("warnings", [])))


def _is_colorful(colors: list[str]) -> bool:
    return any(len({color[0:2], color[2:4], color[4:6]}) > 1 for color in colors)
