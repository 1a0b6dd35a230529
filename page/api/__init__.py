"""What programs call, and the JSON that they get."""
