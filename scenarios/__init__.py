"""What to run: presets, commands, studies, backends."""
