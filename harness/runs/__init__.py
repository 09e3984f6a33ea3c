"""What was asked becomes cases, and cases are worked off: configuration, budgets, the runner and its
progress.
"""
