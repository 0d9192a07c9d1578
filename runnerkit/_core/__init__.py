"""What all of RunnerKit stands on: spaces as flat columns, checked batches, memory, cores, Ctrl-C, numbers in words."""
