"""The Salesforce provider: the client, the fetch, object metadata, the type mapping and the sample org."""
