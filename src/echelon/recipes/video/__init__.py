"""YouTube-8M: from TFRecord files to labels of videos."""
