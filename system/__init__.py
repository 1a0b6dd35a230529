"""What a command needs of the machine: processes, cores, memory, files, and access to the Hub."""
