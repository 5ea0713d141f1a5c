"""What cases are made of: pictures, videos, bundles and pairs, built byte by byte where it matters."""
