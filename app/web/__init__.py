"""What stands between the network and the page: request ids, headers, limits, and the way in for files."""
