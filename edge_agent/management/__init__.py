"""What an operator asks of a device over MQTT, and what the device does to stay a member of its mesh."""
