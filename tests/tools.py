"""Programs and files from outside Python that some tests need: `make tools` brings them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

KOTLIN = Path(__file__).parents[1] / ".tools" / "node_modules" / "kotlin-compiler" / "bin" / "kotlinc"

MODULES = KOTLIN.parents[2]  # what npm brought
BROWSER = "chromium"


def needed(name: str) -> str:
    """The path of a program, or of a file. A test is skipped without it; where CI says that all is there, it fails."""
    found = name if Path(name).exists() else shutil.which(name)
    if found:
        return found
    words = f"{name} is missing: make tools"
    if os.environ.get("CI") == "true":
        pytest.fail(words)
    pytest.skip(words)
