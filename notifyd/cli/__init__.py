"""The `notifyd` command: app.py lists what can be asked, and each module beside it answers one thing."""
