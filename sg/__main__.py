"""`python -m sg COMMAND ...`: the console command `sg` without its script."""

from sg.cli import main

if __name__ == "__main__":
    main()
