"""Plugins: how they are found, what they offer, and the built-in one."""
