"""What parts must be like, looked at while the program runs: call shapes and contracts."""
