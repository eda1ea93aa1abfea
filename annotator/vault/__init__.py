"""The vault: keys, sealed blobs and sealed fields. It knows no tables."""
