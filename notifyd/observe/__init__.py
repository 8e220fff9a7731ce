"""What the daemon says of itself: logs, health, and the line to systemd."""
