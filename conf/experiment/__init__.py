"""Named sets of overrides: cellbench run experiment=NAME."""
