"""How wide a feed-forward part is inside."""


def expanded(width: int, expansion: float) -> int:
    """`expansion` times the width; to the next multiple of 8, and at least 8, where that is no whole number."""
    wanted = width * expansion
    return int(wanted) if wanted == int(wanted) else max(8, round(wanted / 8) * 8)
