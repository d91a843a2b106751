"""The order of the stages: each function here is one thing a user asks for, from its inputs to its results.

One module per stretch of the way, so that a command imports only what it walks: logs, incidents, people, tickets, reporting.
"""
