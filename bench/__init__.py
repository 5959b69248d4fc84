"""Performance, measured: whole processes, always against a peer or a limit in the same run."""
