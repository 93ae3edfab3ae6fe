"""What the questions share: which scores count."""

FAILED_BELOW = 0.5  # an element with a lower probability counts as missing from the image

# Scores of the versions that a question is about, under the newest settings of each judge.
SCORES = """
scores as (
    select *
    from current_scores
    where ($experiment is null or experiment = $experiment)
      and ($vision_model is null or vision_model = $vision_model)
)"""
