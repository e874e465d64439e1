"""Image files to pixels, for every recipe that reads images."""
