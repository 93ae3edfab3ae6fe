"""How far each judge can be trusted: ordering of error graphs, calibration, agreement, human ratings."""

from forgekit.judge_tests.agreement import agreement, correlate, disagreements, judge_rated, rated_scores
from forgekit.judge_tests.calibration import calibrate, calibration_of, reliability, threshold_for
from forgekit.judge_tests.graph_scores import element_scores, score_graphs, write_pictures
from forgekit.judge_tests.ordering import JudgeTest, judge_test, ordering, separation
from forgekit.judge_tests.ratings import Columns, import_ratings, read_ratings

__all__ = [
    "Columns", "JudgeTest", "agreement", "calibrate", "calibration_of", "correlate", "disagreements", "element_scores",
    "import_ratings", "judge_rated", "judge_test", "ordering", "rated_scores", "read_ratings", "reliability",
    "score_graphs", "separation", "threshold_for", "write_pictures",
]  # fmt: skip
