"""Settings, validated where they are given."""
