"""One file a family of models: encode, denoise a batch of rows, decode."""
