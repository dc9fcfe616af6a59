"""What ToMe is compared with: each curator gives an order of removal, so that cores of any size are nested here too."""
