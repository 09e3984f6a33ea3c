"""Longer runs with a committed result, which are not part of a report.

Each is a command of its own, python -m cellbench.harness.studies.NAME, and needs the installed project alone
(history also the extra `study`).
"""
