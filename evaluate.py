"""Ask a model the questions of a benchmark, or score a file of answers: see `python evaluate.py --help`."""

from sg.study.evaluation import main

if __name__ == "__main__":
    main()
