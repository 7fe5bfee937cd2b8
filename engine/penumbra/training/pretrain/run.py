"""A whole run: start or resume, train, evaluate, keep what is good."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from penumbra.errors import Stopped
from penumbra.training.devices import training_device
from penumbra.training.pretrain.board import Board
from penumbra.training.pretrain.checkpoint import BEST, restore, save, save_mean, settle
from penumbra.training.pretrain.held_out import evaluate, held_out_clips
from penumbra.training.pretrain.settings import PretrainSettings
from penumbra.training.pretrain.trainer import Trainer
from penumbra.training.pretrain.workers import joined_workers
from penumbra.training.scoring import TruthClip

_SHOWN_CLIPS = 6


def pretrain(
    run: Path,
    settings: PretrainSettings | None = None,
    on_log: Callable[[dict[str, float]], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Trainer:
    """Starts or resumes the run in ``run`` and brings it to its last step; under torchrun with the other processes.

    A resumed run keeps its own settings except for those that are free. Leaves ``ema.safetensors``, and
    ``best.safetensors`` where it evaluates. Raises :class:`DivergedError` with the last good checkpoint in place, and
    :class:`Stopped` with one of the step reached when asked to stop.
    """
    device = training_device(settle(run, settings, write=False).device)
    with joined_workers(device) as workers:
        trainer = Trainer(settle(run, settings, write=False), workers)
        try:
            # Settings that cannot be are not those of the run for ever.
            if workers.leads:
                settle(run, settings)
            restore(trainer, run)
            _train(trainer, run, on_log, should_stop)
        finally:
            trainer.close()
    return trainer


def _train(
    trainer: Trainer,
    run: Path,
    on_log: Callable[[dict[str, float]], None] | None,
    should_stop: Callable[[], bool],
) -> None:
    workers, settings = trainer.workers, trainer.settings
    board = Board(run, trainer.step, settings.board, on_log) if workers.leads else None
    referee = _Referee(trainer, run)
    saved = ended = time.monotonic()
    pace = _Pace()
    while not trainer.finished:
        figures = pace.added(trainer.train_step())
        if board and trainer.step % settings.log_every == 0:
            board.record(trainer.step, {"rate": trainer.rate, "minutes": trainer.minutes, **figures, **pace.told()})
        if board and settings.evaluate_every and trainer.step % settings.evaluate_every == 0:
            referee.judge(board)
        began, ended = ended, time.monotonic()
        trainer.minutes = workers.leader(trainer.minutes + (ended - began) / 60)
        stop = bool(workers.leader(float(should_stop())))
        if workers.leads and (stop or ended - saved > settings.checkpoint_minutes * 60):
            save(trainer, run)
            saved = time.monotonic()
        if stop:
            raise Stopped(f"Stopped after {trainer.step} steps of pretraining.", "The same command goes on from there.")
    if board:
        save(trainer, run)
        board.close()


class _Pace:
    """Seconds a step takes, and of those the ones spent waiting for a batch, since they were last told."""

    def __init__(self) -> None:
        self._restart()

    def _restart(self) -> None:
        self._began, self._steps, self._waited = time.monotonic(), 0, 0.0

    def added(self, figures: dict[str, float]) -> dict[str, float]:
        """The figures of a step without its waiting, which is added up."""
        self._steps += 1
        self._waited += figures.pop("waited")
        return figures

    def told(self) -> dict[str, float]:
        steps, seconds, waited = max(self._steps, 1), time.monotonic() - self._began, self._waited
        self._restart()
        return {"seconds_per_step": seconds / steps, "seconds_waiting": waited / steps}


class _Referee:
    """Evaluates the running mean on scenes of the stage's size and keeps the best."""

    def __init__(self, trainer: Trainer, run: Path) -> None:
        self.trainer, self.run = trainer, run
        self._stage, self._clips = -1, list[TruthClip]()

    def judge(self, board: Board) -> None:
        trainer = self.trainer
        if self._stage != trainer.stage:
            size = trainer.size
            self._stage = trainer.stage
            self._clips = held_out_clips(size.height, size.width, device=trainer.device)
        score = evaluate(trainer.mean, self._clips)
        board.record(trainer.step, asdict(score))
        board.show(trainer.step, trainer.mean, self._clips[:: max(1, len(self._clips) // _SHOWN_CLIPS)])
        if score.effect_iou > trainer.best:
            trainer.best = score.effect_iou
            save_mean(trainer, self.run / BEST)
