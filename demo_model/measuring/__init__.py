"""How good the small model is, and pictures that show it."""
