"""The commands `train-cifar` and `compare-methods`."""
