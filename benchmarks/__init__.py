"""What the local AWS and the template cost in time: `make bench`."""
