"""What a user writes, read and checked: spec files, arguments, arrays, validation messages."""
