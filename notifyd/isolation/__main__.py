"""The process of one channel: `python -m notifyd.isolation`. From its first moment the daemon comes first.

It has a process group of its own, with which whatever it starts is killed, but no session: Linux shares a processor
out among sessions before it looks at niceness.
"""

import gc
import os

MODESTY = 10
"""Of nice(2)."""

os.setpgid(0, 0)
os.nice(MODESTY)
gc.disable()  # an import makes no garbage, and half of the time to start is imports

from notifyd.isolation.child import main  # noqa: E402

gc.freeze()
gc.enable()
main()
