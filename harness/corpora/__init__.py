"""Readers of the texts and scores that tasks learn from, and what they share; they know no task."""
