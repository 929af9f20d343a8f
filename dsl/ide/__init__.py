"""What an editor asks about specs that are being written: analysis of text as it stands, with no protocol in it.

Takes what the check found out and adds what only a person at a cursor needs: where a name stands, what could stand here, what is
what. Every position is a character offset; `cli/lsp/` speaks to editors.
"""
