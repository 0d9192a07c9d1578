"""The command line: commands, agents by name, reports, tables."""
