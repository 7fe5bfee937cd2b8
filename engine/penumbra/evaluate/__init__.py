"""How good layers are: clips whose truth is known, taken apart in several ways, scored and drawn side by side."""

from penumbra.evaluate.comparison import write_comparison
from penumbra.evaluate.figures import score
from penumbra.evaluate.jobs import write_sample_job
from penumbra.evaluate.run import evaluate
from penumbra.evaluate.table import table_lines, write_report

__all__ = ["evaluate", "score", "table_lines", "write_comparison", "write_report", "write_sample_job"]
