"""How many examples Hypothesis tries: all where $CI is set; elsewhere a third of them, and 50 at least.

Most laws that are broken show within the first few. Those that show later wait for CI, or for `CI=1 make test ARGS=…`.
"""

from __future__ import annotations

import os


def examples(number: int) -> int:
    """So many of this number."""
    return number if os.environ.get("CI") else min(number, max(number // 3, 50))
