"""PyTorch → OpenVINO IR; needed once."""
