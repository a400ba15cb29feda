"""What this costs and gives: one file per question, run as `python -m benchmarks.NAME`."""
