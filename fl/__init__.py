"""What both sides agree on: the wire, partitions, strategies, whose turn it is."""
