"""What the metrics are called in results, plots and targets."""

GAP, MAP, HIT, PERR, LOSS = "gap@20", "map", "hit@1", "perr", "loss"
