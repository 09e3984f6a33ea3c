"""Longer runs with a committed result: they need the installed project and nothing else, and are not part of
a report.
"""
