"""A model around a cell is trained, then examined: its answers, the verdict on it, and the system it
identified.
"""
