"""Names and texts in statements that are put together. What is a value goes as a parameter wherever one can be."""


def quote(name: str) -> str:
    """Return a name as an identifier of SQL, always in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return `text` as a string constant that reads the same whatever `standard_conforming_strings` says."""
    quoted = text.replace("'", "''")
    return f"E'{quoted.replace(chr(92), chr(92) * 2)}'" if "\\" in text else f"'{quoted}'"
