"""Names of the parts and of the files they are made from. No network code lives here."""

PART_NAMES = (
    "image_encoder",
    "vae_encoder",
    "vae_decoder",
    "reference_unet",
    "pose_guider",
    "denoising_unet",
)

# The folder layout of Moore-AnimateAnyone's `pretrained_weights`. A weight file is named without
# its ending: all of these are read.
WEIGHT_ENDINGS = (".safetensors", ".pth", ".bin", ".fp16.safetensors", ".fp16.bin")
DENOISING_UNET = "denoising_unet"
MOTION_MODULE = "motion_module"
REFERENCE_UNET = "reference_unet"
POSE_GUIDER = "pose_guider"
IMAGE_ENCODER = "image_encoder/pytorch_model"
IMAGE_ENCODER_CONFIG = "image_encoder/config.json"
VAE = "sd-vae-ft-mse/diffusion_pytorch_model"
VAE_CONFIG = "sd-vae-ft-mse/config.json"
SD_UNET = "stable-diffusion-v1-5/unet/diffusion_pytorch_model"
SD_UNET_CONFIG = "stable-diffusion-v1-5/unet/config.json"
SCHEDULER_CONFIG = "scheduler/scheduler_config.json"
GENERATION_CONFIG = "generation_config.json"

# What enters the last layer of the denoising UNet from below: an output, and an input of that layer
# alone.
DEEP_FEATURES = "deep_features"

# What finds poses, the first that is there by default; how poses are fitted to a character.
DETECTORS = "dwpose", "blazepose"
ALIGNMENTS = "off", "global", "limbs"

# How windows of frames cover a long video, and Moore-AnimateAnyone's lengths.
SCHEDULES = "open", "loop", "uniform"
CONTEXT_FRAMES, CONTEXT_OVERLAP = 24, 4

# How pictures of another shape become those of a video.
FITS = "crop", "pad", "stretch"
