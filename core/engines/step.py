"""The training step as a file for engines without TensorFlow: what those who make it, send it and use it agree on.

core/engines/step_file.py makes it (and needs TensorFlow), core/engines/litert.py uses it.
"""

from __future__ import annotations

import hashlib

PAGE = 100  # images of a `look`
FISHER_PAGE = 50  # examples of a `squares`, each with its own gradient of every weight


def digest(file: bytes) -> str:
    """The file's SHA-256, which goes with it, so that a message that was cut is noticed."""
    return hashlib.sha256(file).hexdigest()
