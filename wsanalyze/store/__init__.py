"""The run file: sums in, series out; every committed row survives a kill."""
