"""One connection's HTTP: who is asked, how often, what is kept, and what a fault is called."""
