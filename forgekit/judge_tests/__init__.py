"""How far each judge can be trusted: ordering of error graphs, calibration, agreement, human ratings."""

from forgekit.judge_tests.agreement import agreement, correlate, disagreements, judge_rated, rated_scores
from forgekit.judge_tests.calibration import calibrate, calibration_of, reliability, threshold_for
from forgekit.judge_tests.graph_scores import element_scores, score_graphs, write_pictures
from forgekit.judge_tests.ordering import JudgeTest, judge_test, ordering, separation
from forgekit.judge_tests.people import krippendorff_alpha, people, win_rates
from forgekit.judge_tests.rating_plan import rating_plan
from forgekit.judge_tests.ratings import import_ratings, read_ratings

__all__ = [
    "JudgeTest", "agreement", "calibrate", "calibration_of", "correlate", "disagreements", "element_scores", "import_ratings",
    "judge_rated", "judge_test", "krippendorff_alpha", "ordering", "people", "rated_scores", "rating_plan", "read_ratings",
    "reliability", "score_graphs", "separation", "threshold_for", "win_rates", "write_pictures",
]  # fmt: skip
