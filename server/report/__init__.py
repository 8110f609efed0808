"""What a run's record looks like to people: figures, and a page."""
