"""Numbers on a terminal of any width: no word is broken, and columns that do not fit go on in a table below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

SHORT = 6  # letters of a head that stays in one line
BORDER = 3  # letters a column takes beside its text: a line and two blanks


def tables(head: Sequence[str], rows: Sequence[Sequence[str]], width: int, title: str = "") -> Iterator[Table]:
    """The rows in as few tables as fit into `width` letters, one below the other, each with the first column.

    The first column is words and wraps between them; the others are numbers, at their right, whose heads wrap. Only a word
    that leaves no room for a number beside it is broken.
    """
    columns = [list(column) for column in zip(*rows, strict=True)]
    needs = [
        max(_word([name]), len(name) if len(name) <= SHORT else 0, *map(len, column))
        for name, column in zip(head, columns, strict=True)
    ]
    most = max(1, width - 1 - 2 * BORDER - max(needs[1:]))  # letters that leave room for a number
    longest = min(_word([head[0], *columns[0]]), most)
    choices = range(longest, max(longest, min(needs[0], width // 3)) + 1)
    first = min(choices, key=lambda n: (len(list(_parts(needs, width - 1 - BORDER - n))), -n))
    for part in _parts(needs, width - 1 - BORDER - first):
        table = Table(title=title or None, title_justify="left", highlight=False)
        title = ""
        table.add_column(head[0], width=first, overflow="fold")
        for i in part:
            table.add_column(Text(head[i], justify="right"), width=needs[i])
        for k, row in enumerate(rows):
            # Rich would take blanks at the end away
            table.add_row(row[0], *(columns[i][k].rjust(needs[i]) for i in part))
        yield table


def _word(texts: Sequence[str]) -> int:
    """Letters of the longest word."""
    return max(len(word) for text in texts for word in text.split())


def _parts(needs: Sequence[int], room: int) -> Iterator[list[int]]:
    """The columns but the first, in groups that fit into the room."""
    part: list[int] = []
    for i in range(1, len(needs)):
        if part and sum(needs[k] + BORDER for k in [*part, i]) > room:
            yield part
            part = []
        part.append(i)
    yield part
