"""Training: recipe, losses, distillation, the step and the loop, state and log."""
