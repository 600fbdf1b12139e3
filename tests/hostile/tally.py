"""How many checks have held, by area: what was really run is counted, not what was planned."""

from collections import Counter

__all__ = ["checks", "held"]

checks: Counter[str] = Counter()


def held(area: str, number: int = 1) -> None:
    """Count checks that held; a check that fails ends its test and is not counted."""
    checks[area] += number
