"""Pages that people look at: one HTML file each, without a request to the network."""
