"""Words for people: what a terminal can show, and counts with their noun."""


def printable(text: str) -> str:
    """`text` in one line: control characters and bytes that are not UTF-8 become escapes."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode() for letter in text
    )


def counted(number: int, noun: str) -> str:
    """A count with its noun: "1 row", "3,589 rows"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
