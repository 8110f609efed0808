"""What workers share stays shared."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import gc, os
{load}
from core.processes import memory
if not os.fork():
    own = memory(os.getpid(), "Private_Dirty")
    gc.collect()
    print(memory(os.getpid(), "Private_Dirty") - own)
    os._exit(0)
os.wait()
"""


def copied(load: str) -> float:
    """MB that a full collection copies in a process forked from one that has loaded this."""
    found = subprocess.run(
        [sys.executable, "-u", "-c", PROGRAM.format(load=load)], capture_output=True, text=True, check=True
    )
    return float(found.stdout)


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="reads Linux's /proc")
def test_a_collection_in_a_worker_copies_nothing_of_what_is_shared() -> None:
    assert copied("import scenarios.backends.preloaded") < 1
    assert copied("import scenarios.backends.preloaded; gc.unfreeze()") > 3  # so there was something to copy
