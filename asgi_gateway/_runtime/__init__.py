"""Run threads, poll files and lock the single worker. Holds no policy."""
