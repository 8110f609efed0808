"""Engines carry out plans: the only gradient loops in the project.

An engine has `train`, `logits`, `features` and `fisher` (core.methods.base.Engine).
"""
