"""What an operator touches: the command line, sites, targets, plan and apply."""
