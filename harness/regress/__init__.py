"""Comparisons that are judged: two revisions, two backends or two cells against each other in the same
processes.
"""
