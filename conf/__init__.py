"""What to run, for Hydra. Inside the installed package this folder is cellbench.conf."""
