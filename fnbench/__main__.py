"""``python -m fnbench`` is the command line."""

from fnbench.cli import main

if __name__ == "__main__":
    main()
