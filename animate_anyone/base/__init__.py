"""What everything stands on: names, sizes, files, manifest, lock, checks."""
