"""Training: organisms from nothing, fine-tuning on an arm, mitigations, several GPUs."""
