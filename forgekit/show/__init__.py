"""What a person looks at: plots, sheets, the explorer, the report, files for other tools."""
