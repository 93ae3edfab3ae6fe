"""From a judged prompt to the next one: the case, the actions on it, the policies, what was learnt, the decision."""
