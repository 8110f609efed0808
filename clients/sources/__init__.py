"""Where a client's data comes from: a slice of a data set, or a folder of its own."""
