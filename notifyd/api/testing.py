"""The conformance kit: try a plugin with everything that the world may do to it. Needs the extra `notifyd[testing]`.

    from notifyd.api.testing import ChannelTests

    class TestPager(ChannelTests):
        channel = Pager

        def options(self, server):
            return {"url": server.url, "token": "s3cret-t0ken"}

`ChannelTests` and `FilterTests` are classes to inherit; pytest runs them, and prints a checklist at the end. For
tests of your own there are `HttpServer`, `deliver`, and notifications: `a_notification`, `an_event`, `A_DIGEST` ….
Nothing in `notifyd.api` imports this module.
"""

from notifyd.conformance.channel_tests import ChannelTests
from notifyd.conformance.filter_tests import FilterTests
from notifyd.conformance.http_sink import Request
from notifyd.conformance.samples import A_DIGEST, A_RECOVERY, A_TEST, NOW, a_notification, an_event
from notifyd.conformance.server import HttpServer, Mood, Server
from notifyd.conformance.stage import Ended, deliver

__all__ = [
    "A_DIGEST",
    "A_RECOVERY",
    "A_TEST",
    "NOW",
    "ChannelTests",
    "Ended",
    "FilterTests",
    "HttpServer",
    "Mood",
    "Request",
    "Server",
    "a_notification",
    "an_event",
    "deliver",
]
