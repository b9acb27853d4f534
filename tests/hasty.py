"""fer as `python -m fercli` runs it, but that a process which does not answer is given up sooner."""

from fercli.cli import main
from fercli.learn import ranks

if __name__ == "__main__":
    ranks._GRACE = 2.0
    main()
