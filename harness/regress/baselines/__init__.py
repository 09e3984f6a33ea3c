"""Exact gates: numbers that no noise can change, recorded for every cell and compared again.

`nox -s baselines` records them, `nox -s baselines -- --check` compares.
"""
