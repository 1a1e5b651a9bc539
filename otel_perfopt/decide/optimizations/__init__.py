"""What a policy may ask for, one type a file: the `optimize` part of a policy in, a checked frozen model out."""
