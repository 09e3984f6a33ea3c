"""Where the sequences of tasks come from: archives of real data, their readers, and simulated systems."""
