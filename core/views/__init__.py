"""What images look like: clients' own looks, random augmentations in training, conditions of a stage."""
