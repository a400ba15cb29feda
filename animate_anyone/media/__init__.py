"""Pictures and videos: read, fitted, written."""
