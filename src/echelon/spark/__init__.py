"""Spark as the engine: sessions, gangs of workers, partition tasks. The only part that imports pyspark."""
