"""Labels: synthetic noise, labels of people, and which labels look wrong."""
