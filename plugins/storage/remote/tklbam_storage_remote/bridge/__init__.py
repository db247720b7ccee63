"""What runs under duplicity's own Python, where its libraries are: stores that need them, behind lines of JSON.

Nothing here imports anything of this project but this package itself, which is then called `bridge`.
"""
