"""From pictures to frames, with IR alone."""
