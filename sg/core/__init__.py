"""The ground floor: errors, scales, fingerprints, files, progress bars, commands. Imports nothing of `sg` above it."""
