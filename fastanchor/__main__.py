"""`python -m fastanchor`."""

from fastanchor.cli import main

main()
