"""The claims of the lecture, one a file."""
