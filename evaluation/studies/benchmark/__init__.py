"""How long an inspection takes, stage by stage, and how far that is from the machine's best."""
