"""The process of one channel: `python -m notifyd.isolation`. From its first moment the daemon comes first."""

import gc
import os
import time

MODESTY = 10
"""Of nice(2), among the daemon's processes; and of their session, as Linux shares a processor among those first."""


def _be_modest() -> None:
    os.nice(MODESTY)
    for _ in range(20):
        try:
            with open("/proc/self/autogroup", "w") as file:  # noqa: PTH123 - pathlib takes its time
                file.write(str(MODESTY))
        except BlockingIOError:  # it takes ten a second, of all users together
            time.sleep(0.1)
        except OSError:  # no such thing here
            return
        else:
            return


_be_modest()
gc.disable()  # an import makes no garbage, and most of the time to start is imports

from notifyd.isolation.child import main  # noqa: E402

gc.freeze()
gc.enable()
main()
