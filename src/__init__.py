"""Prune, train, evaluate and deploy MODNet: scripts and what all share; each room says what it is for."""
