"""`python -m ticket_assets` is the `tickets` command."""

from ticket_assets.cli import main

if __name__ == "__main__":
    main()
