"""Photographs → digits, at the edge: NumPy, OpenCV and the model's own runtime, nothing else."""
