"""Every setting as a page, from the code that reads them: `python -m scenarios.reference > docs/settings.md`.

What a setting means is the comment beside it in the source, or above it; what a piece means is the first paragraph of its
docstring.
"""

from __future__ import annotations

import ast
import inspect
import io
import shlex
import textwrap
import tokenize
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from core.config.overrides import departures, flat
from core.config.part import options
from core.config.scenario import RANGES, Scenario
from core.data import DATASETS
from core.models import MODELS
from core.views.conditions import CONDITIONS
from scenarios.check import REGISTRIES, meaning
from scenarios.presets import SCENARIOS

TYPES = {
    "int": "whole number", "float": "number", "str": "text", "bool": "`true`, `false`", "Part": "a piece",
    "tuple[Part, ...]": "pieces", "tuple[int, ...]": "whole numbers: `[8,9]`",
    "tuple[str, ...]": "names: `[\"blur\"]`",
    "tuple[tuple[int, int], ...]": "pairs: `[[6,8],[7,8]]`",
}  # fmt: skip

TOP = """\
# Settings

Every setting of a scenario, every piece that one can name, every preset. Look here for a key's name, default and range.

This page is made from the code by `python -m scenarios.reference > docs/settings.md`; a test keeps it so.

Any of them is changed by `--set KEY=VALUE`, as often as needed:

```bash
python -m scenarios.run noniid --set local.rate=0.02                                    # one value
python -m scenarios.run noniid --set partition=labels --set partition.k=1               # a piece, and its setting
python -m scenarios.run noniid --set augment=rotate+shift --set augment.rotate.degrees=10   # several pieces
python -m scenarios.run noniid --set looks=none                                         # none of them
python -m scenarios.run noniid --show                                                   # all settings of a preset, as JSON
python -m scenarios.run --list                                                          # every piece, in the terminal
```

A piece that is named again keeps its settings. An unknown key, a wrong type or an impossible value is refused before the run
starts, with the choices. The seed, the rounds and the engine have options of their own, too: `--seed`, `--rounds`, `--engine`.
"""


def comments(definition: Callable[..., Any]) -> dict[str, str]:
    """What the source says of a dataclass's fields, or of a function's settings: the comment on their lines, or above them."""
    source = textwrap.dedent(inspect.getsource(definition))
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    notes = {
        t.start[0]: (t.string.lstrip("# "), not t.line[: t.start[1]].strip())
        for t in tokens
        if t.type == tokenize.COMMENT
    }
    node = ast.parse(source).body[0]
    if isinstance(node, ast.ClassDef):
        named = [
            (str(ast.unparse(n.target)), n.lineno, n.end_lineno) for n in node.body if isinstance(n, ast.AnnAssign)
        ]
    else:
        assert isinstance(node, ast.FunctionDef)
        named = [(a.arg, a.lineno, a.end_lineno) for a in node.args.kwonlyargs]
    meanings = {}
    for name, first, last in named:
        above = first
        while notes.get(above - 1, ("", False))[1]:
            above -= 1
        lines = [notes[line][0] for line in range(above, (last or first) + 1) if line in notes]
        meanings[name] = " ".join(lines)
    return meanings


def paths(data: type = Scenario, before: str = "") -> Iterator[tuple[str, str, str]]:
    """Each setting of a scenario: its path, its type in words, its meaning."""
    hints, notes = typing.get_type_hints(data), comments(data)
    for field in fields(data):
        if is_dataclass(hints[field.name]) and str(field.type) not in TYPES:
            yield from paths(hints[field.name], f"{before}{field.name}.")
        else:
            yield before + field.name, TYPES[str(field.type)], notes[field.name]


def settings(piece: Callable[..., Any]) -> Iterator[tuple[str, str, str, str]]:
    """Each setting of a registered piece: its name, its type in words, its default, its meaning."""
    if not options(piece):
        return
    function = piece.__init__ if inspect.isclass(piece) else piece
    notes = comments(function)
    for name, parameter in options(piece).items():
        yield (
            name,
            TYPES[str(parameter.annotation)],
            str(parameter.default).lower() if parameter.annotation == "bool" else str(parameter.default),
            notes[name],
        )


def page() -> str:
    """The whole page."""
    usual, ranges = flat(Scenario("the preset's")), {name: _range(low, high) for name, low, high in RANGES}
    rows = [
        (f"`{key}`", _linked(key, kind), f"`{usual[key]}`", ranges.get(key, ""), _capital(note))
        for key, kind, note in paths()
    ]
    parts = [TOP, "## Keys\n", _table(("key", "type", "default", "range", "meaning"), rows)]
    for kind, registry in REGISTRIES.items():
        parts += [
            f"## {kind}\n",
            _table(
                (f"`{kind}=`", "meaning"), [(f"`{name}`", _capital(meaning(piece))) for name, piece in registry.items()]
            ),
        ]
        several = str(Scenario.__annotations__[kind]).startswith("tuple")
        setting_rows = [
            (f"`{kind}.{name}.{key}`" if several else f"`{kind}.{key}`", f"`{name}`", words, f"`{default}`", _capital(note))
            for name, piece in registry.items() for key, words, default, note in settings(piece)
        ]  # fmt: skip
        parts.append(_table(("setting", "of", "type", "default", "meaning"), setting_rows))
    parts += [
        "## Conditions\n",
        "What `stream.conditions` takes, joined by `+`: `noise`, or with an amount `noise:0.5`.\n",
    ]
    parts.append(
        _table(
            ("condition", "usual amount", "meaning"),
            [(f"`{name}`", f"{amount:g}", _capital(meaning(piece))) for name, (piece, amount) in CONDITIONS.items()],
        )
    )
    parts += [
        "## Models\n",
        _table(
            ("`model.kind=`", "meaning"), [(f"`{name}`", _capital(meaning(piece))) for name, piece in MODELS.items()]
        ),
    ]
    sets = [(f"`{name}`", str(one.spec.classes), ", ".join(one.spec.labels)) for name, one in DATASETS.items()]
    parts += ["## Data sets\n", _table(("`data=`", "classes", "labels"), sets)]
    parts += ["## Presets\n", "Each with what differs from the defaults above.\n"]
    for name, (scenario, about) in SCENARIOS.items():
        differs = shlex.join(f"{key}={text}" for key, text in departures(Scenario(name), scenario))
        wrapped = "\n".join(textwrap.wrap(differs, 120, break_long_words=False, break_on_hyphens=False))
        parts.append(f"### `{name}`\n\n{about}\n\n```text\n{wrapped}\n```\n")
    return "\n".join(parts)


def _linked(key: str, words: str) -> str:
    return f"[{words}](#{key})" if key in REGISTRIES else words


def _range(low: float, high: float) -> str:
    least = f"{low:g}" if low == 0 or low > 1e-6 else "above 0"
    return f"from {least}" if high > 1e15 else f"{least} … {high:,.10g}"


def _capital(text: str) -> str:
    word = text.split(" ")[0].rstrip(",")  # one letter is a symbol's name, but for the article
    return text[:1].upper() + text[1:] if word.islower() and (len(word) > 1 or word == "a") else text


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_cell(one) for one in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n" if len(lines) > 2 else ""


def _cell(text: str) -> str:
    """A text that Markdown shows as it is; code stays code."""
    if text.startswith("`"):
        return text.replace("|", r"\|")
    return text.replace("*", r"\*").replace("<", r"\<").replace("|", r"\|")


if __name__ == "__main__":
    print(page(), end="")
