"""What the tests of plugins share."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable, Mapping

import pytest

from tests.outbound import ways
from tests.plugins.mailing import ca, ca_file, sink

__all__ = ["ca", "ca_file", "sink"]


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], AbstractEventLoop]]:
    """Twice what tries everything that an endpoint can do."""
    return ways.LOOPS if item.path.name == "test_unruly_endpoints.py" else ways.ASYNCIO
