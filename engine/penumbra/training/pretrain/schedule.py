"""How far a run is, which stage that means, and how fast to learn there."""

from __future__ import annotations

import math

from penumbra.training.pretrain.settings import PretrainSettings


def progress(settings: PretrainSettings, step: int, minutes: float = 0.0) -> float:
    """The share of the run that is done, by the minutes where they are set and else by the steps; 1 at its end."""
    by_steps = step / settings.steps
    if settings.minutes is None:
        return min(by_steps, 1.0)
    return min(max(by_steps, minutes / settings.minutes), 1.0)


def stage_at(settings: PretrainSettings, done: float) -> int:
    """The index of the stage the run is in when ``done`` of it is done."""
    stages = settings.all_stages
    total = sum(stage.share for stage in stages)
    bound = 0.0
    for index, stage in enumerate(stages[:-1]):
        bound += stage.share / total
        # A last bit of rounding must not hold a stage one step longer.
        if done < bound - 1e-12:
            return index
    return len(stages) - 1


def learning_rate(
    settings: PretrainSettings, step: int, minutes: float = 0.0, stage: int = 0, stage_start: int = 0
) -> float:
    """Linear warm-up in every stage; half a cosine over the whole run down to ``final_rate`` of the stage's peak.

    Over steps or, if set, minutes; ``stage_start`` is the step at which the stage began.
    """
    peak = settings.all_stages[stage].learning_rate or settings.learning_rate
    rise = min(1.0, (step - stage_start + 1) / max(settings.warm_up, 1))
    if settings.minutes is None:
        done = (step - settings.warm_up) / max(settings.steps - settings.warm_up, 1)
    else:
        done = minutes / settings.minutes
    fall = 0.5 * (1 + math.cos(math.pi * min(max(done, 0.0), 1.0)))
    return peak * rise * (settings.final_rate + (1 - settings.final_rate) * fall)
