"""Runs: the configuration becomes cases, and the cases are run one after the other."""
