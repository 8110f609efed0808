"""What to run: presets, commands, studies, backends.

Whatever of it is imported, the libraries are told how to work before any of them is loaded; then come pieces from outside.
"""

from core import plugins
from scenarios.environment import prepare

prepare()
plugins.load()
