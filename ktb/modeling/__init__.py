"""The network: backbones, adapters, prompts, fusion, heads."""
