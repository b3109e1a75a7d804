"""Users' data of each kind, made into one file to send; a module for each library.

No module imports a library that the user has not imported: data are recognised by the name of the
module that defines their type.
"""
