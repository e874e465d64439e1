"""Music: songs to new songs, in the order of the data: crawl, prepare, WaveNet, learner, sampling."""
