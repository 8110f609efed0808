"""Real nodes on this computer: their processes, Flower's command line, how they are."""
