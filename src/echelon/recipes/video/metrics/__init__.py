"""The measures of the YouTube-8M challenge, exact over all videos and workers: ranking, average precision, and
the metrics that are made of them.
"""
