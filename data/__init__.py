"""Where photos come from: folders, the Hub, and parts that our own code draws."""
