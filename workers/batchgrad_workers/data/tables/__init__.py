"""Tables: which inputs their columns become, and by which statistics of the training rows."""
