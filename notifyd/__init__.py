"""notifyd: reads a sync log, notices what a person must know, and tells the right people."""

__version__ = "0.1.0"
