"""What the live page costs, and how old its pictures are."""
