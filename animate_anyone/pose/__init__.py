"""Poses: found in films, followed, fitted to a character, drawn for the pose guider."""

from animate_anyone.pose.draw import draw_pose
from animate_anyone.pose.keypoints import Pose, PoseSequence

__all__ = ["Pose", "PoseSequence", "draw_pose"]
