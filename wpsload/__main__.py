"""`python -m wpsload`: the command line without its script."""

from wpsload.cli import main

__all__: list[str] = []

main()
