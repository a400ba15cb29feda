"""Tables in Markdown."""

from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence], numbers_from: int = 1) -> str:
    """A table: a line of names, then a line per row, each cell as `str` shows it.

    Columns from `numbers_from` on are set flush right.
    """
    rule = ["---" if column < numbers_from else "---:" for column in range(len(header))]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in (header, rule, *rows))


def spoken(spans: Sequence[tuple[int, int]]) -> str:
    """First and last numbers as text, such as "3–9, 12"."""
    return ", ".join(f"{first}–{last}" if first < last else f"{first}" for first, last in spans)
