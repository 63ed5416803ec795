"""What people and `make` run to set up, build and draw; nothing of it ships."""
