"""The endpoints of `monarch api`: jobs are started over HTTP, and their outcome is told. What they do is in `defs`."""
