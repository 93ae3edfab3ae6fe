"""How far each judge can be trusted: ordering of error graphs, calibration, agreement, human ratings."""

from forgekit.judging.agreement import agreement, disagreements
from forgekit.judging.calibration import calibrate, calibration_of, reliability, threshold_for
from forgekit.judging.correlation import correlate, judge_rated, rated_scores
from forgekit.judging.graph_scores import element_scores, score_graphs, write_pictures
from forgekit.judging.ordering import JudgeTest, judge_test, ordering, separation
from forgekit.judging.ratings import Columns, import_ratings, read_ratings

__all__ = [
    "Columns",
    "JudgeTest",
    "agreement",
    "calibrate",
    "calibration_of",
    "correlate",
    "disagreements",
    "element_scores",
    "import_ratings",
    "judge_rated",
    "judge_test",
    "ordering",
    "rated_scores",
    "read_ratings",
    "reliability",
    "score_graphs",
    "separation",
    "threshold_for",
    "write_pictures",
]
