"""What a person or a program reads: tables, JSON, messages, progress.  rich lives here alone."""
