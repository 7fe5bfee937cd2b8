"""What is seen: widgets that show what they are told and say with signals what the artist does."""
