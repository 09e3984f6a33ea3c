"""Anchored ratios over commits: the file that keeps them, change points in them, and a page of their trends."""
