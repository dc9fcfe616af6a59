"""Train and evaluate a model at one caption scale, or a whole scaling study: see `python train.py --help`."""

from sg.study.main import main

if __name__ == "__main__":
    main()
