"""A loop that notifies a sink through Apprise, so many times on so many threads. It prints the seconds it took."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import apprise

url, count, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
service = apprise.Apprise()
assert service.add(url)


def notify(number: int) -> bool:
    return bool(service.notify(title=f"Sync Error: job {number}", body="no such order", notify_type="failure"))


begun = time.monotonic()
with ThreadPoolExecutor(threads) as pool:
    assert all(pool.map(notify, range(count)))
print(time.monotonic() - begun)
