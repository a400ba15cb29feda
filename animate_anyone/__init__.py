"""Animate a character from one reference image and a pose video, with OpenVINO.

config      names, file layout and sizes of the six networks
download    fetches the published weights, `hub` byte by byte, `downloads.yaml` says which
weights     reads the checkpoints strictly
models      the networks in PyTorch, needed for conversion only
convert     PyTorch → OpenVINO IR, `manifest` says what from, `lock` lets one at a time
runtime     compiled networks behind one contract
context     windows of frames for long videos
denoise     the sampling loop
presets     how much of what is recommended is done
pipeline    reference image + pose frames → animated frames, after `checks` and `preprocess`
pose        draws pose maps
video       reading and writing of images, mp4 and GIF
demo        the page in the browser
notebook    tables and pictures that the notebook shows
cli         `python -m animate_anyone download|convert|animate|demo`
"""
