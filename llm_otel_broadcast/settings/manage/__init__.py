"""What only the command line and the console need of the settings."""
