"""`sg status`: what the commands that write to a work folder are doing."""
