"""Numbers of things in words."""

__all__ = ["counted"]


def counted(number: int, one: str, several: str | None = None) -> str:
    """A number of things in words: "1 picture", "1,200 pictures".

    Parameters
    ----------
    number : int
    one, several : str
        What one is called, and what several are: `one` with an s by default.
    """
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"
