"""What launches device code: a CUDA device, or the emulator on the host."""
