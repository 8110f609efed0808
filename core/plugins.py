"""Pieces from outside: modules that enter partitions, strategies, methods, models, data sets of their own in the registries.

Every process that reads scenarios imports them (`load`): those that a command names (`use`) are known to its children by
two environment variables, and an installed package names its own as an entry point of the group below.
"""

from __future__ import annotations

import hashlib
import os
import sys
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

VARIABLE = "FEDLEARN_PLUGINS"  # in the environment: modules' names, with commas between
PATH = "PYTHONPATH"  # where children look for them, too
GROUP = "federated_continual.plugins"  # of entry points


def use(*names: str) -> None:
    """Import these modules here and in every process that is started from now on.

    names: of modules, in the present folder or installed, or paths of .py files. Raises ValueError if there is no such module;
    whatever else goes wrong in one is its author's to see.
    """
    plugins = _named()
    for name in names:
        file = Path(name)
        if file.suffix == ".py" and not file.is_file():
            raise ValueError(f"--plugin {name}: there is no such file")
        module = file.stem if file.suffix == ".py" else name
        if not all(part.isidentifier() for part in module.split(".")):
            raise ValueError(f"--plugin {name!r} should be a module's name, or a .py file that is called like one")
        _import(name, module, file if file.suffix == ".py" else None)
        plugins += [module] * (module not in plugins)
    os.environ[VARIABLE] = ",".join(plugins)


def _import(name: str, module: str, file: Path | None) -> None:
    """Import a plugin and let modules in its folder be found, after all others, here and in children; undone if it fails."""
    sys_path, python_path, folder = list(sys.path), os.environ.get(PATH), str((file or Path("_")).parent.absolute())
    if folder not in sys.path:
        sys.path.append(folder)
    entries = [*filter(None, (python_path or "").split(os.pathsep))]
    os.environ[PATH] = os.pathsep.join([*entries, *[folder] * (folder not in entries)])
    try:
        origin = Path(str(import_module(module).__file__))
        if file and origin.resolve() != file.resolve():
            raise ValueError(
                f"--plugin {name}: {origin} is called {module} too, and is found first; give yours another name"
            )
    except BaseException as error:
        sys.path[:] = sys_path
        os.environ.pop(PATH) if python_path is None else os.environ.update({PATH: python_path})
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            raise ValueError(f"--plugin {name}: there is no module of this name here, and none is installed") from None
        if isinstance(error, ModuleNotFoundError):
            raise ValueError(f"--plugin {name}: it needs the module {error.name}, which is not installed") from None
        if isinstance(error, SyntaxError):
            raise ValueError(f"--plugin {name}: {error.filename}, line {error.lineno}: {error.msg}") from None
        raise


def load() -> None:
    """Import the plugins of installed packages, then those that the environment names: the same order in every process."""
    for entry in _installed():
        entry.load()
    for name in _named():
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            error.add_note(f"{VARIABLE} names the plugin {name}")
            raise


def variables() -> dict[str, str]:
    """What a process elsewhere must have in its environment to find the same plugins."""
    return {name: os.environ[name] for name in (VARIABLE, PATH) if os.environ.get(VARIABLE)}


def digest() -> bytes:
    """SHA-256 of the plugins' sources, as far as each is one file; empty if there are none."""
    names = [*_named(), *(entry.module for entry in _installed())]
    files = [file for name in sorted(names) if (file := getattr(sys.modules.get(name), "__file__", None))]
    total = hashlib.sha256()
    for file in files:
        total.update(Path(file).read_bytes())
    return total.digest() if files else b""


@cache
def _installed() -> tuple[EntryPoint, ...]:
    """To look through all installed packages takes milliseconds: once a process."""
    return tuple(entry_points(group=GROUP))


def _named() -> list[str]:
    return [name for name in os.environ.get(VARIABLE, "").split(",") if name]
