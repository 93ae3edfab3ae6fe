"""A language model reads a scene: what it is asked, how its answer is checked against the text's words."""
