"""What speaks to an MQTT broker."""
