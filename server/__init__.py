"""One run: rounds, checkpoint, evaluation, report, export."""
