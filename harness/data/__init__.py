"""Where the sequences of tasks come from: archives of real data and their readers, and systems that are
simulated.
"""
