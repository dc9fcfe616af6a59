"""The lowest layer: errors, identities, files, registries, progress bars, commands. Imports no other part of `sg`."""
