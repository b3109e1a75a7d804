"""Read zips of pictures: a folder for each class."""
