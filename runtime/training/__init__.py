"""What `mcd train` puts around the bare loop of `runtime/train.py`: checkpoints, logs, ranks, precision, errors."""
