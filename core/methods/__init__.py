"""Continual methods: each a small file; METHODS names them all."""

from __future__ import annotations

from core.methods.base import Chain, Finetune

METHODS = {"finetune": Finetune}

__all__ = ["METHODS", "Chain", "Finetune"]
