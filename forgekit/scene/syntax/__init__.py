"""Prompt syntax: what is drawn, what is asked for, and what the marks direct."""
