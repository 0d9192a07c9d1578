"""Executors: how n envs are stepped. Which one is used never shows in the data, only in the speed."""
