"""The dashboard: what the project leaves on AWS, for people who use no terminal.

The modules of this folder ask AWS and know no web framework; `app.py` and `views/` show it.
"""
