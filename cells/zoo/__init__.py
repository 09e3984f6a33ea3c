"""The cells, one file each; a file's name is the cell's."""
