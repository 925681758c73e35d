"""Hugging Face folders, both ways: config.json and safetensors, local, without transformers and without remote code."""
