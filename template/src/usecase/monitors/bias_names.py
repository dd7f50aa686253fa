"""The bias metrics, as SageMaker Clarify names them.

Reads with the standard library alone: the settings import it.
"""

from dataclasses import dataclass
from typing import Literal

Stage = Literal["pre_training", "post_training"]
Table = Literal["predictions", "labels", "pairs", "flips"]


@dataclass(frozen=True)
class Metric:
    """A metric.

    Attributes:
        words: Its name in words.
        stage: Whether it tells of the data alone, or of what a model makes of it.
        table: What it is computed of: a field of `bias_metrics.Tables`.
    """

    words: str
    stage: Stage
    table: Table


#: By short name, in the order of Clarify's documentation.
METRICS = {
    "CI": Metric("Class Imbalance", "pre_training", "predictions"),
    "DPL": Metric("Difference in Positive Proportions in Labels", "pre_training", "labels"),
    "KL": Metric("Kullback-Leibler Divergence", "pre_training", "labels"),
    "JS": Metric("Jensen-Shannon Divergence", "pre_training", "labels"),
    "LP": Metric("L-p Norm", "pre_training", "labels"),
    "TVD": Metric("Total Variation Distance", "pre_training", "labels"),
    "KS": Metric("Kolmogorov-Smirnov Distance", "pre_training", "labels"),
    "CDDL": Metric("Conditional Demographic Disparity in Labels", "pre_training", "labels"),
    "DPPL": Metric(
        "Difference in Positive Proportions in Predicted Labels", "post_training", "predictions"
    ),
    "DI": Metric("Disparate Impact", "post_training", "predictions"),
    "DCA": Metric("Difference in Conditional Acceptance", "post_training", "pairs"),
    "DCR": Metric("Difference in Conditional Rejection", "post_training", "pairs"),
    "RD": Metric("Recall Difference", "post_training", "pairs"),
    "SD": Metric("Specificity Difference", "post_training", "pairs"),
    "DAR": Metric("Difference in Acceptance Rates", "post_training", "pairs"),
    "DRR": Metric("Difference in Rejection Rates", "post_training", "pairs"),
    "AD": Metric("Accuracy Difference", "post_training", "pairs"),
    "CDDPL": Metric(
        "Conditional Demographic Disparity in Predicted Labels", "post_training", "predictions"
    ),
    "TE": Metric("Treatment Equality", "post_training", "pairs"),
    "FT": Metric("Flip Test", "post_training", "flips"),
    "GE": Metric("Generalized Entropy", "post_training", "pairs"),
}
