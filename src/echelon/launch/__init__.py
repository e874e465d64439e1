"""Ways to start the workers of a training without Spark."""
