"""`python -m robustssm` is `robustssm`."""

from robustssm.cli import main

if __name__ == "__main__":
    main()
