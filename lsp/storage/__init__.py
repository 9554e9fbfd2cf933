"""What a run leaves on disk: its folder, checkpoints, frozen layers, lines of metrics."""
