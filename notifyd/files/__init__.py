"""The files that an installed notifyd carries along: symlinks here, real files in a wheel or sdist."""
