"""Each fault that may befall the daemon from outside, and the tests that show what it comes to.

Nothing is lost, nothing but what was in flight is repeated, what is wrong is said once, and it goes on by itself where
that mends anything. Figures are seconds, by test. Needs root, libfaketime, and control groups that limit memory.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.report import Report, main
from tests.bench.suite import report

_FAULTS, _CLOCK, _WATCHDOG = (
    "tests/system/test_faults.py",
    "tests/system/test_clock.py",
    "tests/system/test_watchdog.py",
)

PROOFS = {
    "the disk of the state DB is full, under load and at a start": [
        f"{_FAULTS}::test_a_full_disk_is_said_wherever_one_looks_and_a_reload_answers",
        f"{_FAULTS}::test_a_start_on_a_full_disk_waits_for_room",
    ],
    "another process locks the state DB, for a minute under load and at a start": [
        f"{_FAULTS}::test_a_state_db_that_another_process_locks_for_a_minute",
        f"{_FAULTS}::test_a_start_beside_a_lock_waits_for_its_end",
    ],
    "the state DB is corrupted": [
        f"{_FAULTS}::test_a_corrupted_state_db_is_said_once_with_what_to_do_and_left_as_it_is"
    ],
    "the clock jumps by an hour, forward and back": [f"{_CLOCK}::test_polling_and_sending_go_on_at_once"],
    "summer time begins, and ends": [
        f"{_CLOCK}::test_an_hourly_poll_comes_each_hour_in_the_nights_of_the_change",
        f"{_CLOCK}::test_a_daily_poll_at_an_hour_that_is_not_there_is_not_left_out_for_long",
        f"{_CLOCK}::test_an_hour_that_is_there_twice_polls_twice_at_the_most",
    ],
    "SIGTERM under load": [f"{_FAULTS}::test_sigterm_under_load_ends_in_time_and_repeats_nothing"],
    "SIGHUP a hundred times under load": [
        "tests/system/test_reload.py::test_100_reloads_under_load_lose_and_repeat_nothing"
    ],
    "nobody reads its log any more": [f"{_FAULTS}::test_where_nobody_reads_its_log_it_goes_on"],
    "its descriptors run out": [f"{_FAULTS}::test_where_descriptors_run_out_it_recovers"],
    "the kernel kills it for its memory, and somebody with SIGKILL": [
        f"{_FAULTS}::test_what_the_kernel_kills_for_its_memory_loses_nothing",
        f"{_FAULTS}::test_what_is_killed_loses_nothing",
    ],
    "what is stuck is killed by the watchdog, and what merely has troubles is not": [_WATCHDOG],
}


async def measure(seed: int) -> Report:
    return await asyncio.to_thread(report, PROOFS)


if __name__ == "__main__":
    asyncio.run(main("faults", measure))
