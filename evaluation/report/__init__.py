"""The sections of the report that evaluation/report.py writes."""
