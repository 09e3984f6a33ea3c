"""Functions of a person's: timed, and compared, in fresh processes."""
