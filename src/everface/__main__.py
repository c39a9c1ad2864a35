"""``python -m everface``: the command line."""

from everface.cli import main

if __name__ == "__main__":
    main()
