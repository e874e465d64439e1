"""Ready applications: each a folder with its sources, models, learner and solvers."""
