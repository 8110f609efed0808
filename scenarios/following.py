"""The module that the fork server loads first, so that it ends with the run. (Python's own does that only once all is loaded.)

What it has forked does not take this over: workers follow the run by themselves.
"""

from __future__ import annotations

from core.processes import end_with_starter

end_with_starter()
