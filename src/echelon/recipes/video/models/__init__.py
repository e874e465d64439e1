"""Networks that label videos: what makes one vector of a video (encoders), and what gives the labels of it (heads)."""
