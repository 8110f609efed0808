"""A whole experiment: rounds, baselines beside them, export, pictures, report."""
