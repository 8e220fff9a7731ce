"""The channels and filters that come with notifyd; ordinary plugins that see only `notifyd.api`."""
