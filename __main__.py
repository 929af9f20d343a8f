"""`python -m mcd`, which `torchrun -m mcd train ...` runs in each of its processes."""

from .cli.main import main

if __name__ == "__main__":
    main()
