"""Numbers as people read them."""

__all__ = ["counted", "percent"]


def counted(number: int, one: str, several: str | None = None) -> str:
    """A number of things in words: "1 picture", "1,200 pictures".

    Parameters
    ----------
    number : int
    one, several : str
        What one is called, and what several are: `one` with an s by default.
    """
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"


def percent(share: float) -> str:
    """A share in per cent, without the sign, in the digits that count: "12.3", "0.0001".

    One wrong value of a million is not 0 %.

    Parameters
    ----------
    share : float
        In [0, 1].
    """
    return f"{100 * share:.3g}"
