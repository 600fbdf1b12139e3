"""Models of s, and the detectors of damage that a residual cannot show."""
