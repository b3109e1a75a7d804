"""Files of trained parameters: their model card, and the network in other formats."""
