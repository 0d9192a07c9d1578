"""From the name of an env to a function that makes it."""
