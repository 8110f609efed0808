"""Words from elsewhere, made fit for a terminal, a log and a report: the one place that cleans what others say."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST = 300  # letters of a sentence from a client


def cleaned(words: object, longest: int = LONGEST) -> str:
    """On one line, without control characters: an escape code would move the reader's cursor, or worse. Cut to `longest`."""
    beginning = str(words)[: 4 * longest]  # a gigabyte is not looked at letter by letter
    return " ".join("".join(letter if letter.isprintable() else " " for letter in beginning).split())[:longest]


def printable() -> None:
    """From now on a letter that the terminal's encoding does not have is printed as a question mark: Δ or ✗ ends no command."""
    if hasattr(sys.stdout, "reconfigure"):  # a notebook's, or a test's, may be of another kind
        sys.stdout.reconfigure(errors="replace")


def say(words: str) -> None:
    """Tell whoever called the command, on standard error, word for word: rich would read square brackets, and break lines that are
    to be copied."""
    print(words, file=sys.stderr, flush=True)


@contextmanager
def piped() -> Iterator[None]:
    """Print to a reader that may have had enough, as in `… --show | head`."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        unheard()


def unheard() -> None:
    """From now on what is printed goes nowhere, what Python flushes at its end, too: its reader has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
