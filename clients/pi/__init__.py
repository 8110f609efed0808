"""A federation's node on a Raspberry Pi, or any 64-bit Linux: `python -m clients.pi --help`. Needs no TensorFlow."""
