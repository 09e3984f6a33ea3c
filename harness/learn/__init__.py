"""A model around a cell is trained and examined: its answers, its verdict, the system it identified."""
