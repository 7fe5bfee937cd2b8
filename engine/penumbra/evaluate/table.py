"""Rows of figures as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from penumbra.errors import OutputError
from penumbra.storage import atomic_path

COLUMNS = (
    "effect_iou", "outside_iou", "misplaced", "mask_iou", "solo_psnr", "removal_psnr", "reconstruction_error",
    "flicker", "recomposition_max",
)  # fmt: skip
_HEADINGS = {"reconstruction_error": "reconstruction", "recomposition_max": "recomposed"}
MEAN = "mean of all clips"


def means(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each method the mean of every figure over the clips where it is known."""
    methods = dict.fromkeys((row["method"], row["refine"]) for row in rows)
    return [
        {"clip": MEAN, "method": method, "refine": refine, **_mean([r for r in rows if _key(r) == (method, refine)])}
        for method, refine in methods
    ]


def table_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The rows and, for several clips, the means, in columns."""
    shown = [*rows, *(means(rows) if len({row["clip"] for row in rows}) > 1 else [])]
    width = max([len(str(row["clip"])) for row in shown] + [4]) + 2
    head = f"{'clip':<{width}}{'weights':<14}{'refine':>8}"
    return [head + "".join(f"{_HEADINGS.get(name, name):>15}" for name in COLUMNS)] + [
        f"{row['clip']:<{width}}{row['method']:<14}{row['refine']:>8}"
        + "".join(f"{_text(row[name]):>15}" for name in COLUMNS)
        for row in shown
    ]


def write_report(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Writes rows and means as JSON, whole; raises :class:`OutputError` where it cannot."""
    text = json.dumps({"rows": list(rows), "means": means(rows)}, indent=1) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"The report {path} cannot be written: {error.strerror}.", "Choose another file.") from error


def _key(row: dict[str, Any]) -> tuple[str, str]:
    return row["method"], row["refine"]


def _mean(rows: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    names = (*COLUMNS, "seconds", "refine_seconds")
    known = {name: [row[name] for row in rows if row.get(name) is not None] for name in names}
    return {name: round(float(np.mean(values)), 6) if values else None for name, values in known.items()}


def _text(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if value >= 10 else f"{value:.4f}"
