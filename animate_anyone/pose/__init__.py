"""Poses and the pictures made of them: what the pose guider sees."""

from animate_anyone.pose.draw import Pose, draw_pose

__all__ = ["Pose", "draw_pose"]
