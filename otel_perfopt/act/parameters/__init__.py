"""What a policy may set on each optimization, one type a file: a decision's loosely typed parameters in, checked values out."""
