"""The published weights, from the Hugging Face Hub."""
