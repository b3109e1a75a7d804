"""What is checked before a module is trained: that each example has a gradient of its own."""
