"""Plain ``nn.Module`` networks; each file begins with where its network comes from."""
