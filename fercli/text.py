"""Words for people: what a terminal can show, and counts with their noun, and shares."""


def printable(text: str) -> str:
    """`text` in one line: control characters and bytes that are not UTF-8 become escapes."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode() for letter in text
    )


def percent(share: float) -> str:
    """A share from 0 to 1 in percent: "70.05 %"."""
    return f"{100 * share:.2f} %"


def counted(number: int, noun: str) -> str:
    """A count with its noun: "1 row", "3,589 rows"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
