"""The `dryport` command. The only place that reads the environment and wires the other packages together."""
