"""Judged comparisons: two revisions, backends, cells or stored runs against each other."""
