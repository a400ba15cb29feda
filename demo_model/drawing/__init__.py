"""Characters, motions, and pictures of both: the truth is known for every frame."""
