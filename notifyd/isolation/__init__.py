"""A channel in a process of its own: `isolate = true` on a config.

    channel.py   stands in the daemon for the channel: it asks its process, and answers what that needs
    process.py   one process: started, spoken to, killed
    wire.py      what the two say to each other, and how files are handed over
    child.py     the process itself: `python -m notifyd.isolation`

The plugin sees the same API there. HTTP requests, connections and log lines are made by the daemon, behind the
config's guard, its timeout and its mask of secrets. It contains accidents: a loop that is blocked, memory that
runs out, a crash. It is no sandbox against malice: the process runs as the daemon's user.
"""
