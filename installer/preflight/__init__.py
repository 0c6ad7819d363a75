"""What must hold before anything is changed: one function for each check."""
