"""The pytest plugin: gates on the speed of functions and cells in anybody's test suite, judged as `cellbench
regress` judges.
"""
