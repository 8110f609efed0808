"""What every image is here: uint8 [28, 28], 0 = paper, whatever it was drawn with."""

SIDE = 28  # pixels
