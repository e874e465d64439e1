"""From a folder of Parquet files to batches of tensors, in an order that is a pure function of the run."""
