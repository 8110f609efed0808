"""Learning on one machine: data, streams, model, SGD, methods, metrics. Knows no Flower and no Ray."""
