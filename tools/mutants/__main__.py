"""Plant errors one by one and say which are noticed: ``python -m tools.mutants``."""

from tools.mutants.run import main

if __name__ == "__main__":
    main()
