"""Before a run: whether what it names is here, fits, answers, and how long it will take. Nothing is loaded or written unasked."""
