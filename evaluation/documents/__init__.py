"""Documents for people: sections of text, tables and charts, as one HTML page or as Markdown."""
