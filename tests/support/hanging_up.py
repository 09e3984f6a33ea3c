"""Processes that SIGHUP ends, whatever these tests were started with."""

import signal


def heard():
    """To be run in a child before its program: nohup has ignored the signal, and children inherit that."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
