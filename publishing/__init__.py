"""A model folder out into the world: its card, the Hub, a Space, graphs for other runtimes."""
