"""The sample org: describe JSON served as a Salesforce REST API over real HTTP, on this machine.

Start it with `running.running` (tests, demo) or `running.serve` (`monarch sample-org`). Nothing here talks to a real
org, and nothing outside this package depends on how it answers. Importing it is cheap: the web server, `jwt` and
`cryptography` are imported where they are used.
"""
