"""The five stages, which never import each other, and what they share: calls of models, verdicts, scores, situations."""
