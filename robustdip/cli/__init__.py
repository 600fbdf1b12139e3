"""The commands `denoise`, `corrupt` and `compare`: files in, files out, one command a module."""
