"""What several test modules share, fixtures aside (those are in conftest.py)."""
