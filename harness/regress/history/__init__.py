"""Anchored ratios over commits: their file, the change points in them, and a page of trends."""
