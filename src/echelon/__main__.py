"""`echelon`, and `python -m echelon` under spark-submit and torchrun."""

from echelon.cli.app import main

if __name__ == "__main__":
    main()
