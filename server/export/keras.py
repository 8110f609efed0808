"""The model's canonical file: Keras' own, uncompiled, logits out."""

from __future__ import annotations

import itertools
import json
import re
import zipfile
from collections import defaultdict
from pathlib import Path

from core.predict import ABOUT, packed
from server.export.outgoing import LONG_AGO, Outgoing


def save(model: Outgoing, path: Path) -> None:
    """Write the file. Same weights, same bytes: dates and addresses are taken out."""
    model.keras.save(path)
    with zipfile.ZipFile(path) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    about = json.loads(parts["metadata.json"]) | {"date_saved": "1980-01-01@00:00:00"}
    parts["metadata.json"] = json.dumps(about).encode()
    parts["config.json"] = _numbered(parts["config.json"].decode()).encode()
    parts[ABOUT] = packed(model.about)
    with zipfile.ZipFile(path, "w") as file:
        for name, content in parts.items():
            file.writestr(zipfile.ZipInfo(name, LONG_AGO), content)


def _numbered(config: str) -> str:
    """Shared objects by number, where Keras writes their addresses in memory."""
    number: defaultdict[str, int] = defaultdict(itertools.count(1).__next__)
    return re.sub(r'(?<="shared_object_id": )\d+', lambda match: str(number[match[0]]), config)
