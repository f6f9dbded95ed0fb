"""What the design promises, measured on this machine: real engine, real worker, real disk."""
