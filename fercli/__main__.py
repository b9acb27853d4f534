"""`python -m fercli` is `fer`."""

from .cli import main

main()
