"""Comparisons of many runs: which there are, how they are run, what they come to."""
