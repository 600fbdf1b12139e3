"""The version of the distribution, which all its packages share."""

__all__ = ["__version__"]

__version__ = "0.2.0"
