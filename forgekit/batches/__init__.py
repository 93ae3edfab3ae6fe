"""A notebook run many times by papermill: the plan, and its executions."""
