"""Revisions of different dependencies, compared from processes in environments of their own."""
