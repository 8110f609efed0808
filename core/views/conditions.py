"""Conditions: what the world does to images while a stage of a stream lasts, in training and test alike.

A look (core/views/looks.py) is one client's own; a condition comes over everybody who is in its stage. Written `name` or
`name:amount`, joined by `+` where a stream takes several, one a stage.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from core.config.parse import unknown
from core.config.part import Part
from core.images import SIDE
from core.seeds import rng
from core.views.augment import augment
from core.views.looks import LOOKS, look

Condition = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]

DEFORMED = (
    Part("elastic", {"alpha": 34.0, "sigma": 4.0}),
    Part("rotate", {"degrees": 25.0}),
    Part("shift", {"share": 0.1}),
)
MOST = 2.0  # times that: beyond, digits leave their image
MOST_ORDERS = 1_000_000  # of the pixels, of each seed


def _check(name: str, amount: float, least: float, most: float) -> None:
    if not least <= amount <= most:
        raise ValueError(f"condition {name}:{amount:.12g} should be {least:g} … {most:.12g}")


def plain(images: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """As they are"""
    return images


def noise(images: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise, standard deviation as a share of full ink"""
    _check("noise", amount, 0, 10)
    grain = rng.standard_normal(images.shape, np.float32) * np.float32(255 * amount)
    return np.clip(images + grain + np.float32(0.5), 0, 255).astype(np.uint8)


def invert(images: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """White on black becomes black on white, to this share"""
    _check("invert", amount, 0, 1)
    return np.clip(images + np.float32(amount) * (255 - 2 * images.astype(np.float32)) + 0.5, 0, 255).astype(np.uint8)


def permute(images: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """All pixels change places, in the same way for everybody (Goodfellow et al. 2013, arXiv:1312.6211); 0 changes nothing"""
    _check("permute", amount, 0, MOST_ORDERS)
    if amount % 1:
        raise ValueError(f"condition permute:{amount:g} should be a whole number: which order it is")
    if not amount:
        return images
    return images.reshape(len(images), -1)[:, rng.permutation(images[0].size)].reshape(images.shape)


def deformed(images: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Each image bent (elastic, alpha 34, sigma 4, Simard et al. 2003), turned by up to ±25°, moved by up to a tenth, in its own
    way; at amount 0.5 half as far"""
    _check("deformed", amount, 0, MOST)
    return augment(images, DEFORMED, np.full((len(images), len(DEFORMED)), amount, np.float32), rng)


def _fixed(name: str) -> Condition:
    def condition(images: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
        return look(images, [Part(name, {"low": amount, "high": amount})], [0.0])

    condition.__doc__ = LOOKS[name].__doc__
    return condition


CONDITIONS: dict[str, tuple[Condition, float]] = {  # each with its usual amount
    "plain": (plain, 0.0),
    "noise": (noise, 0.3),
    "invert": (invert, 1.0),
    "permute": (permute, 1.0),
    "deformed": (deformed, 1.0),
    "rotate": (_fixed("rotate"), 40.0),
    "zoom": (_fixed("zoom"), 0.7),
    "stroke": (_fixed("stroke"), 0.9),
    "blur": (_fixed("blur"), 1.3),
    "contrast": (_fixed("contrast"), 0.35),
}


def parsed(text: str) -> tuple[str, float]:
    """("noise", 0.3) from "noise:0.3" or "noise". Raises ValueError, naming the choices."""
    name, colon, amount = text.partition(":")
    if name not in CONDITIONS:
        raise unknown("condition", name, CONDITIONS)
    try:
        number = float(amount) if colon else CONDITIONS[name][1]
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"condition {text!r} should be name or name:number")
    return name, number


def check(text: str) -> None:
    """Raises ValueError if there is no such condition, or its amount cannot be: it is tried on an empty image."""
    under(text, np.zeros((1, SIDE, SIDE), np.uint8), 0)


def under(condition: str, images: np.ndarray, seed: int, *who: str | int) -> np.ndarray:
    """The images under a condition. who: whose images these are, the address of their noise.

    A permutation is the same for all: its address is the seed and its amount.
    """
    name, amount = parsed(condition)
    if not len(images):
        return images
    at = ("permutation", int(amount)) if name == "permute" else ("condition", condition, *who)
    return CONDITIONS[name][0](images, amount, rng(seed, *at))
