//! The Dockerfile instructions that `image import --change` takes, applied to an image's defaults.
