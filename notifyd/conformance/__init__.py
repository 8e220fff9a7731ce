"""What a plugin is tried with before it is trusted: `notifyd.api.testing` is its door.

    channel_tests.py  one class to inherit for a channel, filter_tests.py one for a filter
    server.py         the place to send to, on a thread of its own; http_sink.py speaks HTTP
    stage.py          a channel at work: the daemon's own context around it, and what came of each send
    watch.py          what a plugin does on the side: blocking, leaking, talking
    samples.py        events and notifications, friendly and hostile
    checklist.py      the pytest plugin that prints the report

Nothing of the daemon imports this; pytest is needed by what imports it, and comes with the extra `testing`.
"""
