"""Exact gates: what no machine's noise can change, recorded for every cell and compared again (`nox -s
baselines`).
"""
