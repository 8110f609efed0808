"""What the fork server loads first: with this it ends with the run. (Python's own looks for that once everything is loaded.)

What it has forked does not take this over: workers follow the run by themselves.
"""

from __future__ import annotations

from core.processes import end_with_starter

end_with_starter()
