"""The theory, runnable: the linear model, low rank plus sparse, neural collapse."""
