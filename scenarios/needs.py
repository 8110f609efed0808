"""Which packages each part needs beside what all have, by the package's extras; and how they are installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from core.packages import pip_install

EXTRAS = {
    "edge": ("ai_edge_litert", "onnxruntime"),
    "pi": ("ai_edge_litert", "cryptography", "flwr", "grpc"),
    "serve": ("ai_edge_litert", "onnxruntime", "grpc", "grpc_health", "grpc_reflection", "prometheus_client", "starlette",
              "uvicorn", "uvloop"),
    "sim": ("ai_edge_litert", "cryptography", "flwr", "grpc", "keras", "matplotlib", "onnx", "prometheus_client", "scipy",
            "tensorflow"),
}  # fmt: skip
PROJECT = Path(__file__).parents[1] / "pyproject.toml"  # is there in a clone


def check(extra: str, *more: str) -> None:
    """Raises ValueError if a package of this extra is not installed, or one of `more`; imports nothing."""
    if missing := [package for package in (*EXTRAS[extra], *more) if find_spec(package) is None]:
        raise ValueError(f"not installed: {', '.join(missing)}; {install(extra)}")


def install(extra: str) -> str:
    """The command that installs an extra. The package is not published, so that is always from a clone."""
    if PROJECT.exists():
        return pip_install(f"{PROJECT.parent}[{extra}]")
    return f"in the folder of a clone of the project: {pip_install(f'.[{extra}]')}"
