"""The checks that need PyTorch. `gradprobe.torch` exports what users call."""
