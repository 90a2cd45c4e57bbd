"""The command ``ppl``: `app` has it all, each other file a part of it."""
