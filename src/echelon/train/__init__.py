"""The training loop and what it stands on: learner, configuration, run folder, checkpoints, evaluation."""
