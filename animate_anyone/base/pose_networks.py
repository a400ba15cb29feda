"""The networks that find poses: their files in a weights folder, and their ports.

Axes: N boxes that are proposed, K points; pictures are (1, H, W, 3) for BlazePose's networks and
(1, 3, H, W) for DWPose's. All numbers are float32.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class PoseNetwork:
    """A network in a file of another format, and what we call its ports."""

    file: str  # in the weights folder
    image: tuple[int, ...]  # shape of its one input, the picture
    outputs: dict[str, tuple[int, tuple[int, ...]]]  # our name → which output it is, its shape


# Ports as in MediaPipe 0.10.21, github.com/google-ai-edge/mediapipe, `mediapipe/modules`.
BLAZEPOSE = {
    "blazepose_person": PoseNetwork(
        "BlazePose/pose_detection.tflite",
        (1, 224, 224, 3),
        {"boxes": (0, (1, 2254, 12)), "scores": (1, (1, 2254, 1))},
    ),
    "blazepose_body": PoseNetwork(
        "BlazePose/pose_landmark_full.tflite",
        (1, 256, 256, 3),
        {"points": (0, (1, 195)), "presence": (1, (1, 1)), "heatmaps": (3, (1, 64, 64, 39))},
    ),
    "blazepose_hand_crop": PoseNetwork(
        "BlazePose/hand_recrop.tflite", (1, 256, 256, 3), {"points": (0, (1, 1, 1, 4))}
    ),
    "blazepose_hand": PoseNetwork(
        "BlazePose/hand_landmark_full.tflite",
        (1, 224, 224, 3),
        {"points": (0, (1, 63)), "presence": (1, (1, 1))},
    ),
    "blazepose_face_crop": PoseNetwork(
        "BlazePose/face_detection_short_range.tflite",
        (1, 128, 128, 3),
        {"boxes": (0, (1, 896, 16)), "scores": (1, (1, 896, 1))},
    ),
    "blazepose_face": PoseNetwork(
        "BlazePose/face_landmark.tflite",
        (1, 192, 192, 3),
        {"points": (0, (1, 1, 1, 1404)), "presence": (1, (1, 1, 1, 1))},
    ),
}

# Ports as in the files of huggingface.co/yzd-v/DWPose.
DWPOSE = {
    "dwpose_person": PoseNetwork(
        "DWPose/yolox_l.onnx", (1, 3, 640, 640), {"boxes": (0, (1, 8400, 85))}
    ),
    "dwpose_points": PoseNetwork(
        "DWPose/dw-ll_ucoco_384.onnx",
        (1, 3, 384, 288),
        {"simcc_x": (0, (1, 133, 576)), "simcc_y": (1, (1, 133, 768))},
    ),
}

NETWORKS = BLAZEPOSE | DWPOSE
OPTIONAL = ("dwpose_person",)  # without it a whole picture is taken for one person


def family(name: str) -> str:
    """The detector that a network belongs to."""
    return name.partition("_")[0]
