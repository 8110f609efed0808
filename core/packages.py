"""How a package that is missing gets into the environment that runs."""

from __future__ import annotations

import shlex
import sys
from importlib.util import find_spec


def pip_install(*packages: str) -> str:
    """The command that installs them here, whatever environment is active. `.venv`, as make fills it, has no pip of its own, so
    there it is that of the Python which the environment was made of."""
    if find_spec("pip"):
        pip = [sys.executable, "-m", "pip"]
    else:
        pip = [getattr(sys, "_base_executable", sys.executable), "-m", "pip", "--python", sys.executable]
    return shlex.join([*pip, "install", *packages])
