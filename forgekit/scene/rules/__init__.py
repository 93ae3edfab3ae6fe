"""The rules that read a scene's text: tokens, their classes, noun phrases, clauses, and from them the scene."""
