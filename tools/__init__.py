"""What keeps the repository's generated files in step; run as ``python -m tools.NAME``."""
