"""The network: its config, wiring table and layers, the pruning JSON, and costs from a config."""
