"""Revisions of different dependencies, compared from processes in an environment each: blunter than regress."""
